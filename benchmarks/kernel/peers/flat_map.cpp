// boost::unordered_flat_map from packed keys to rows, a peer of the unit index, at its best: built
// for this processor, the room reserved, large pages asked for, keys given packed. Compiled and
// called by conftest.py; knows no container numbers.
#include <boost/unordered/unordered_flat_map.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <sys/mman.h>

namespace {

constexpr std::size_t huge_page_bytes = std::size_t{2} << 20;

template <typename T> struct huge_page_allocator {
    using value_type = T;

    huge_page_allocator() = default;
    template <typename U> huge_page_allocator(const huge_page_allocator<U> &) {}

    T *allocate(std::size_t count)
    {
        const std::size_t bytes =
            (count * sizeof(T) + huge_page_bytes - 1) / huge_page_bytes * huge_page_bytes;
        void *memory = std::aligned_alloc(huge_page_bytes, bytes);
        if (memory == nullptr) {
            throw std::bad_alloc();
        }
        madvise(memory, bytes, MADV_HUGEPAGE);
        return static_cast<T *>(memory);
    }

    void deallocate(T *memory, std::size_t) { std::free(memory); }

    template <typename U> bool operator==(const huge_page_allocator<U> &) const { return true; }
    template <typename U> bool operator!=(const huge_page_allocator<U> &) const { return false; }
};

using flat_map =
    boost::unordered_flat_map<std::uint64_t, std::uint32_t, boost::hash<std::uint64_t>,
                              std::equal_to<std::uint64_t>,
                              huge_page_allocator<std::pair<const std::uint64_t, std::uint32_t>>>;

} // namespace

extern "C" {

// keys[i] gets row i. The caller frees it.
flat_map *flat_map_build(const std::uint64_t *keys, std::int64_t count)
{
    auto *map = new flat_map();
    map->reserve(static_cast<std::size_t>(count));
    for (std::int64_t i = 0; i < count; i++) {
        map->emplace(keys[i], static_cast<std::uint32_t>(i));
    }
    return map;
}

void flat_map_probe(const flat_map *map, const std::uint64_t *keys, std::int64_t count,
                    std::int32_t *rows)
{
    const auto end = map->end();
    for (std::int64_t i = 0; i < count; i++) {
        const auto found = map->find(keys[i]);
        rows[i] = found == end ? -1 : static_cast<std::int32_t>(found->second);
    }
}

void flat_map_free(flat_map *map) { delete map; }
}
