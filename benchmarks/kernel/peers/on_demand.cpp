// simdjson's on-demand parser over port events, a peer of the event scanner, at its best: built for
// this processor, one parser for all, values in one padded buffer, texts left where they are. Ten
// fields of each event are found; nothing is converted but the weight. Compiled and called by
// conftest.py; knows no dates and no container numbers.
#include <cstdint>
#include <simdjson.h>
#include <string_view>

namespace {

using simdjson::ondemand::value;

constexpr std::string_view names[] = {
    "eventID",      "eventType", "eventDateTime", "eventCreatedDateTime", "operatorID",
    "locationCode", "unitType",  "unit",          "direction",            "weightKg",
};
constexpr int text_count = 9;
constexpr int weight = 9;

struct event {
    std::string_view texts[text_count];
    double weight_kg;
};

int field_of(std::string_view key)
{
    switch (key.size()) {
    case 4: return key == names[7] ? 7 : -1;
    case 7: return key == names[0] ? 0 : -1;
    case 8: return key == names[6] ? 6 : key == names[weight] ? weight : -1;
    case 9: return key == names[1] ? 1 : key == names[8] ? 8 : -1;
    case 10: return key == names[4] ? 4 : -1;
    case 12: return key == names[5] ? 5 : -1;
    case 13: return key == names[2] ? 2 : -1;
    case 20: return key == names[3] ? 3 : -1;
    default: return -1;
    }
}

// Keys in any order, each compared with what it can be by its length.
bool walk(simdjson::ondemand::object object, event &out)
{
    for (auto member : object) {
        std::string_view key;
        if (member.unescaped_key().get(key)) {
            return false;
        }
        const int field = field_of(key);
        if (field == weight ? static_cast<bool>(member.value().get_double().get(out.weight_kg))
                            : field >= 0 && member.value().get_string().get(out.texts[field])) {
            return false;
        }
    }
    return true;
}

// Keys asked for one by one, in the order in which they are written.
bool find(simdjson::ondemand::object object, event &out)
{
    for (int field = 0; field < text_count; field++) {
        if (object.find_field(names[field]).get_string().get(out.texts[field])) {
            return false;
        }
    }
    return !object.find_field(names[weight]).get_double().get(out.weight_kg);
}

} // namespace

extern "C" {

// Value i is bytes[offsets[i]] up to bytes[offsets[i + 1]]; on_demand_padding() bytes more must be
// readable. Returns how many events were read, and in `sum` the lengths of all texts and all
// weights, for comparison.
std::int64_t on_demand_scan(const char *bytes, const std::int64_t *offsets, std::int64_t count,
                            int keys_in_order, double *sum)
{
    static simdjson::ondemand::parser parser;
    event out{};
    *sum = 0;
    for (std::int64_t i = 0; i < count; i++) {
        const std::size_t length = static_cast<std::size_t>(offsets[i + 1] - offsets[i]);
        simdjson::ondemand::document document;
        simdjson::ondemand::object object;
        const simdjson::padded_string_view text(bytes + offsets[i], length,
                                                length + simdjson::SIMDJSON_PADDING);
        if (parser.iterate(text).get(document) || document.get_object().get(object) ||
            !(keys_in_order ? find(object, out) : walk(object, out))) {
            return i;
        }
        for (const auto &value : out.texts) {
            *sum += static_cast<double>(value.size());
        }
        *sum += out.weight_kg;
    }
    return count;
}

std::int64_t on_demand_padding() { return simdjson::SIMDJSON_PADDING; }
}
