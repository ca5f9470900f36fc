"""An explanation in Vietnamese or English, as plain text for a gate, an officer or a court.

Called by ``why``. It must never know how a fact was found: it words what ``stream.why`` and
``stream.why_rows`` hand it. Both languages have the same sentences with the same values in them;
the tests hold them to that. Times are Vietnam's.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any, Literal

from stream.moments import parse_date_time, vietnam_text
from stream.near_misses import NearMiss
from stream.policy import Effect
from stream.report import kilograms_text
from stream.why import DecisionStory, EventStory, Explanation, RecordStory, Source
from stream.why_rows import Amount, Moment, Operand, RowStory, Sentence, Term

Language = Literal["vi", "en"]
WIDTH_COLUMNS = 100

TERMS: dict[str, str] = {
    # What officers and operators say for the contract's words; English keeps the words.
    "CONTAINER": "container",
    "PACKAGES": "hàng kiện",
    "BULK": "hàng rời",
    "LIQUID": "hàng lỏng",
    "IMPORT": "nhập khẩu",
    "EXPORT": "xuất khẩu",
    "TRANSIT": "quá cảnh",
    "DOMESTIC": "nội địa",
    "CLEARANCE": "thông quan",
    "INSPECTION": "đưa đi kiểm tra",
    "EMPTY": "container rỗng",
    "SEIZED": "hàng bị thu giữ",
    "REGISTERED": "đã đăng ký",
    "CLEARED": "thông quan",
    "RELEASED": "giải phóng hàng",
    "TO_STORAGE": "đưa hàng về bảo quản",
    "TO_INSPECTION": "đưa hàng về địa điểm kiểm tra",
    "TRANSPORT_APPROVED": "phê duyệt vận chuyển",
    "CANCELLED": "đã hủy",
    "GET_IN": "đưa vào",
    "GATE_CHECK": "kiểm tra tại cổng",
    "GET_OUT": "đưa ra",
    "RESEAL": "thay niêm phong",
    "STRIP": "rút hàng",
    "STUFF": "đóng hàng",
    "DISCREPANCY": "sai khác",
    "STOCK_COUNT": "kiểm đếm tồn",
    "STOP": "tạm dừng qua khu vực giám sát",
    "SCAN": "soi chiếu",
    "CUSTOMS_SEAL": "niêm phong hải quan",
    "ACTIVE": "đang hiệu lực",
    "LIFTED": "đã gỡ bỏ",
    "RELEASE": "CHO QUA",
    "HOLD": "GIỮ LẠI",
    "FLAG": "CẢNH BÁO",
    "OFF": "TẮT",
}

WORDS: dict[Language, dict[str, str]] = {
    "en": {
        # Headings and lines of the text.
        "title": "Unit {unit}, from {log}. Times are Vietnam's (+07:00), lines count from 1.",
        "title_live": "Unit {unit}, from the live topics at {log}. Times are Vietnam's (+07:00).",
        "compacted": "Decisions and alerts are told as they were published: they are the record. "
        "Of declarations, holds and operators Kafka keeps the last version; earlier ones may be "
        "gone, and a decision that rested on one is told without its facts.",
        "events": "Events, in the order of the log",
        "events_live": "Events, in the order in which they were received",
        "declarations": "Declarations",
        "holds": "Holds",
        "decisions": "Decisions",
        "alerts": "Alerts",
        "advice": "Advice for people; it never releases anything",
        "none": "none",
        "line": "line {line}",
        "record": "{topic} {partition}, offset {offset}",
        "event": "{type} {time}, {unit_type}, {direction}, at {location} by {operator}, "
        "event {event}",
        "event_purpose": "purpose {purpose}",
        "event_quantity": "{quantity}",
        "event_seals": "seals {seals}",
        "event_no_seal": "no seal seen",
        "event_presented": "presented {declarations}",
        "event_document": "document {document}",
        "unreadable": "a record that was refused",
        "declaration": "{number} version {version}: {status}, {direction}, at {location}, "
        "registered {time}",
        "destination": "to {location}",
        "entry": "{unit_type} at {location}: {quantity}",
        "entry_seals": "seals {seals}",
        "entry_shared": "shared with other declarations",
        "no_quantity_declared": "no quantity",
        "not_listed": "no longer lists the unit",
        "removed": "{number} removed",
        "hold": "{hold} version {version}: {reason} on {reference}, {state}, issued {time}",
        "hold_seal": "seal {seal}",
        "IN_FORCE": "in force",
        "SUPERSEDED": "superseded by a later version",
        "RETRACTED": "retracted",
        "DUPLICATE": "a repeat, changed nothing",
        "REMOVED": "removed",
        "REJECTED": "refused: {reason}, {field}",
        "whole_record": "the whole record",
        "decision": "{outcome}: {operator}, event {event}, decision {sequence}, "
        "made {decided} for {time}",
        "decided_late": "taken up when the partition changed hands",
        "caused_by": "brought about by line {line} of the log",
        "caused_by_record": "brought about by {record}",
        "facts_gone": "what it rested on is no longer in the topics",
        "undecided": "Not answered by a worker yet: events {events}.",
        "rule_set": "rule set {rule_set}",
        "valid_until": "valid until {time}",
        "weighed": "declarations weighed: {declarations}",
        "weighed_none": "no declaration covers the passage",
        "weighed_holds": "holds weighed: {holds}",
        "no_rows": "no row of the rules stood",
        "basis": "Legal basis: {basis}",
        "no_basis": "Legal basis: none cited, a condition of the system",
        "row_off": "(switched off by the rule set)",
        "facts": "Found: {facts}",
        "change": "RELEASE {change}",
        "change_all": "RELEASE needs all of these together:",
        "change_unknown": "The smallest change for {code} can't be told from this log.",
        "alert": "{type} ({words}), raised {time}, {operator} at {location}",
        "alert_event": "event {event}",
        "near_declared": "{unit} is one slip away and is declared at {location}, {direction}, on "
        "{declaration} ({status}). Compare it with what is written on the unit.",
        "near_check_digit": "With the check digit that fits, the number would be {unit}. Compare "
        "it with what is written on the container.",
        "pieces": "{count} pieces",
        "and": " and ",
        # Alerts, by type.
        "UNAUTHORISED_EXIT": "went out although a row of the rules holds it",
        "DOUBLE_ENTRY": "came in although it was in stock",
        "EXIT_WITHOUT_ENTRY": "went out although it was not in stock",
        "LATE_REPORT": "the exit was reported too late",
        "DISCREPANCY": "the operator reports a discrepancy",
        "STOCK_MISMATCH": "the count differs from the balance",
        "EXIT_RETRACTED": "an exit that had taken effect was taken back",
        "RECALL": "released before, and now held",
        "OVERSTAYED": "has stayed beyond the time limit",
        "TRANSIT_OVERDUE": "has not arrived where its transit ends",
        # Findings, by row.
        "nothing_open": "no open declaration lists it anywhere; the passage asked for is "
        "{direction} at {location}",
        "passed_at": "passed on declaration {declaration} at {time}",
        "returned_at": "came in again at {returned}, within {days} days of that exit",
        "cancelled": "declaration {declarations} is cancelled",
        "declared_at": "declaration {declaration} names location {location}",
        "declared_for": "declaration {declaration} is for {direction}",
        "passing_later": "declaration {declaration} is {status} since {time} only, too late for "
        "the event of {event}",
        "status_is": "declaration {declaration} is {status}",
        "not_presented": "declaration {declarations} was not presented",
        "presented_strange": "presented was {presented}; covering is {covering}",
        "several_declare": "declarations {declarations} list it, and {alone} does not say that "
        "the container is shared",
        "hold_on_unit": "hold {hold} ({reason}) on the unit since {time}",
        "hold_on_declaration": "hold {hold} ({reason}) on declaration {reference} since {time}",
        "customs_seal_of_hold": "hold {hold} of {time} requires seal {seal}",
        "seals_seen": "seen were seals {seals}",
        "no_seal": "no seal was seen",
        "nobody_looked": "nobody recorded having looked at the seals",
        "expected_resealed": "expected, after resealing, are {expected}",
        "expected_declared": "expected, as declared, are {expected}",
        "balance": "asked {asked}, passed {passed}, reserved {reserved}, allowed {allowed}",
        "tolerance": "allowed is the {declared} declared and {percent} % tolerance",
        "no_quantity_pieces": "the event gives no pieces",
        "no_quantity_weight": "the event gives no weight",
        "exits_without_pieces": "{count} earlier exits give no pieces",
        "exits_without_weight": "{count} earlier exits give no weight",
        "purpose_is": "the purpose is {purpose}, the direction {direction}: no declaration is "
        "needed",
        "declared_here": "declaration {declarations} lists it at {location}",
        "suspended": "operator {operator} was suspended when the event came",
        "no_entry": "by the events known, it was not in stock at {location} at {event}",
        "number_is": "the number is {unit}",
        "stayed": "came in {time}, {days} days before; the limit is {limit} days",
        "ahead": "dated {event}, received {time}: {seconds} seconds ahead; allowed are {minutes} "
        "minutes",
        "registered": "declaration {declaration} was registered {time}, {days} days before; the "
        "limit is {limit} days",
        # Changes, each after "RELEASE".
        "declare_here": "once a declaration that lists it at {location} for {direction} is "
        "cleared (or in another status that lets goods pass)",
        "declare_again": "once a new declaration lists it at {location} for {direction} and is "
        "cleared; or once the exit is retracted, if it was reported in error",
        "declare_anew": "once another declaration lists it at {location} for {direction} and is "
        "cleared",
        "move_declaration": "once declaration {declarations} names location {location}; or at "
        "location {locations}",
        "turn_direction": "for direction {directions}, if the event had it wrong; or once "
        "declaration {declarations} is for {direction}",
        "clear_one": "once declaration {declarations} is cleared (or in another status that lets "
        "goods pass)",
        "clear_all": "once declarations {declarations} are all cleared (or in another status "
        "that lets goods pass)",
        "clear_any": "once one of the declarations {declarations} is cleared (or in another "
        "status that lets goods pass)",
        "present_too": "once declaration {declarations} is presented too",
        "present_instead": "once {covering} is presented, without {presented} where that is "
        "another",
        "share_container": "once declaration {alone} says that the container is shared, or only "
        "one of {declarations} lists it",
        "lift_holds": "once hold {holds} is lifted",
        "lift_scans": "once hold {holds} is lifted after the scan; or with purpose INSPECTION, on "
        "the way to the scanner",
        "show_customs_seal": "once customs seal {seals} is seen on it, or hold {holds} is lifted",
        "match_seals": "once the seals seen are {expected}; or once a RESEAL reports {seals}",
        "match_seals_absent": "once the seals seen are {expected}; or once a RESEAL reports those "
        "that are on it",
        "at_most": "for at most {room}; or once {excess} more are declared and cleared",
        "reserved_now": "for at most {free}, once the {reserved} promised to other trucks are "
        "free again",
        "nothing_left": "once {missing} more are declared and cleared; nothing is left",
        "give_quantity_pieces": "once the event gives its pieces",
        "give_quantity_weight": "once the event gives its weight",
        "correct_exits_pieces": "once {count} earlier exits are corrected to give their pieces",
        "correct_exits_weight": "once {count} earlier exits are corrected to give their weight",
        "name_document": "once the event names the document that permits it",
        "pass_as_declared": "with purpose CLEARANCE under declaration {declarations}; or once "
        "that declaration no longer lists it",
        "connect_operator": "once operator {operator} is connected again and sends a new version "
        "of the event",
        "report_entry": "once its entry at {location}, before {event}, is reported",
        "correct_number": "under the right container number",
        "cannot_undo_stay": "only if the date of its entry was wrong and is corrected",
        "correct_clock": "once the time of the event is corrected",
        "look_at_seals": "once the seals seen are reported and are {expected}",
        "declare_recently": "under a declaration registered at most {limit} days before",
    },
    "vi": {
        "title": "{unit}, theo {log}. Giờ Việt Nam (+07:00), dòng tính từ 1.",
        "title_live": "{unit}, theo dữ liệu trực tuyến tại {log}. Giờ Việt Nam (+07:00).",
        "compacted": "Quyết định và cảnh báo được nêu đúng như đã công bố và là căn cứ chính thức. "
        "Với tờ khai, lệnh giữ hàng và doanh nghiệp, Kafka chỉ giữ phiên bản cuối; các phiên bản "
        "trước có thể không còn, nên quyết định dựa trên đó được nêu không kèm dữ kiện.",
        "events": "Sự kiện, theo thứ tự trong nhật ký",
        "events_live": "Sự kiện, theo thứ tự tiếp nhận",
        "declarations": "Tờ khai",
        "holds": "Lệnh giữ hàng",
        "decisions": "Quyết định",
        "alerts": "Cảnh báo",
        "advice": "Gợi ý để kiểm tra; không làm căn cứ cho hàng qua",
        "none": "không có",
        "line": "dòng {line}",
        "record": "{topic} {partition}, offset {offset}",
        "event": "{type} {time}, {unit_type}, {direction}, tại {location}, doanh nghiệp "
        "{operator}, sự kiện {event}",
        "event_purpose": "mục đích {purpose}",
        "event_quantity": "{quantity}",
        "event_seals": "số seal {seals}",
        "event_no_seal": "không thấy seal",
        "event_presented": "xuất trình {declarations}",
        "event_document": "chứng từ {document}",
        "unreadable": "bản tin bị từ chối",
        "declaration": "{number} phiên bản {version}: {status}, {direction}, tại {location}, "
        "đăng ký {time}",
        "destination": "đến {location}",
        "entry": "{unit_type} tại {location}: {quantity}",
        "entry_seals": "số seal {seals}",
        "entry_shared": "đóng chung container với tờ khai khác",
        "no_quantity_declared": "không khai số lượng",
        "not_listed": "không còn khai hàng hóa này",
        "removed": "{number} đã bị xóa",
        "hold": "{hold} phiên bản {version}: {reason} đối với {reference}, {state}, ban hành "
        "{time}",
        "hold_seal": "số seal {seal}",
        "IN_FORCE": "đang hiệu lực",
        "SUPERSEDED": "đã được thay bằng phiên bản sau",
        "RETRACTED": "đã rút lại",
        "DUPLICATE": "gửi lặp, không thay đổi gì",
        "REMOVED": "đã bị xóa",
        "REJECTED": "bị từ chối: {reason}, {field}",
        "whole_record": "toàn bộ bản tin",
        "decision": "{outcome}: doanh nghiệp {operator}, sự kiện {event}, quyết định lần "
        "{sequence}, lúc {decided}, cho thời điểm {time}",
        "decided_late": "được xét lại khi chuyển giao phân vùng",
        "caused_by": "do dòng {line} của nhật ký",
        "caused_by_record": "do {record}",
        "facts_gone": "dữ liệu làm căn cứ không còn trong hệ thống",
        "undecided": "Hệ thống chưa trả lời: sự kiện {events}.",
        "rule_set": "bộ quy tắc {rule_set}",
        "valid_until": "có giá trị đến {time}",
        "weighed": "tờ khai được xét: {declarations}",
        "weighed_none": "không có tờ khai nào làm căn cứ cho hàng qua",
        "weighed_holds": "lệnh giữ hàng được xét: {holds}",
        "no_rows": "không vướng quy tắc nào",
        "basis": "Căn cứ pháp lý: {basis}",
        "no_basis": "Căn cứ pháp lý: không viện dẫn, điều kiện của hệ thống",
        "row_off": "(bộ quy tắc không áp dụng)",
        "facts": "Thực tế: {facts}",
        "change": "CHO QUA {change}",
        "change_all": "CHO QUA khi đồng thời đáp ứng:",
        "change_unknown": "Nhật ký này không đủ để nêu thay đổi tối thiểu cho {code}.",
        "alert": "{type} ({words}), phát lúc {time}, doanh nghiệp {operator} tại {location}",
        "alert_event": "sự kiện {event}",
        "near_declared": "{unit} chỉ khác một lỗi gõ và được khai báo tại {location}, "
        "{direction}, trên tờ khai {declaration} ({status}). Hãy đối chiếu với số ghi trên hàng "
        "hóa.",
        "near_check_digit": "Theo chữ số kiểm tra đúng, số container sẽ là {unit}. Hãy đối chiếu "
        "với số ghi trên container.",
        "pieces": "{count} kiện",
        "and": " và ",
        "UNAUTHORISED_EXIT": "đã đưa ra khi còn quy tắc giữ hàng",
        "DOUBLE_ENTRY": "đưa vào khi đang còn tồn",
        "EXIT_WITHOUT_ENTRY": "đưa ra khi không có trong tồn",
        "LATE_REPORT": "thông tin đưa ra được báo quá muộn",
        "DISCREPANCY": "doanh nghiệp báo có sai khác",
        "STOCK_MISMATCH": "kết quả kiểm đếm khác số tồn",
        "EXIT_RETRACTED": "thông tin đưa ra đã có hiệu lực bị rút lại",
        "RECALL": "trước đã cho qua, nay giữ lại",
        "OVERSTAYED": "tồn đọng quá thời hạn",
        "TRANSIT_OVERDUE": "hàng quá cảnh chưa đến nơi đúng hạn",
        "nothing_open": "không có tờ khai nào còn hiệu lực ở bất kỳ địa điểm nào; đề nghị qua là "
        "{direction} tại {location}",
        "passed_at": "đã qua theo tờ khai {declaration} lúc {time}",
        "returned_at": "vào lại lúc {returned}, trong vòng {days} ngày kể từ lần ra đó",
        "cancelled": "tờ khai {declarations} đã bị hủy",
        "declared_at": "tờ khai {declaration} khai địa điểm {location}",
        "declared_for": "tờ khai {declaration} khai {direction}",
        "passing_later": "tờ khai {declaration} mới {status} từ {time}, sau thời điểm sự kiện "
        "{event}",
        "status_is": "tờ khai {declaration} ở trạng thái {status}",
        "not_presented": "chưa xuất trình tờ khai {declarations}",
        "presented_strange": "đã xuất trình {presented}; tờ khai của hàng hóa là {covering}",
        "several_declare": "các tờ khai {declarations} cùng khai container, trong đó {alone} "
        "không khai là đóng chung container",
        "hold_on_unit": "lệnh {hold} ({reason}) đối với hàng hóa từ {time}",
        "hold_on_declaration": "lệnh {hold} ({reason}) đối với tờ khai {reference} từ {time}",
        "customs_seal_of_hold": "lệnh {hold} ngày {time} yêu cầu số seal {seal}",
        "seals_seen": "số seal thực tế là {seals}",
        "no_seal": "không thấy seal nào",
        "nobody_looked": "không ghi nhận việc kiểm tra seal",
        "expected_resealed": "số seal phải có sau khi thay niêm phong là {expected}",
        "expected_declared": "số seal đã khai báo là {expected}",
        "balance": "đề nghị {asked}, đã qua {passed}, đã giữ chỗ {reserved}, được phép {allowed}",
        "tolerance": "mức được phép gồm {declared} đã khai và dung sai {percent} %",
        "no_quantity_pieces": "sự kiện không nêu số kiện",
        "no_quantity_weight": "sự kiện không nêu trọng lượng",
        "exits_without_pieces": "{count} lần ra trước đây không nêu số kiện",
        "exits_without_weight": "{count} lần ra trước đây không nêu trọng lượng",
        "purpose_is": "mục đích là {purpose}, chiều là {direction}: không cần tờ khai",
        "declared_here": "tờ khai {declarations} khai hàng hóa này tại {location}",
        "suspended": "doanh nghiệp {operator} đang bị tạm ngừng kết nối khi gửi sự kiện",
        "no_entry": "theo các sự kiện đã biết, hàng hóa không tồn tại {location} lúc {event}",
        "number_is": "số container là {unit}",
        "stayed": "vào lúc {time}, đã {days} ngày; thời hạn là {limit} ngày",
        "ahead": "ghi thời điểm {event}, nhận lúc {time}: sớm {seconds} giây; cho phép {minutes} "
        "phút",
        "registered": "tờ khai {declaration} đăng ký {time}, đã {days} ngày; giới hạn là {limit} "
        "ngày",
        "declare_here": "khi có tờ khai hàng hóa này tại {location}, {direction}, được thông quan "
        "(hoặc ở trạng thái khác được qua)",
        "declare_again": "khi có tờ khai mới tại {location}, {direction}, được thông quan; hoặc "
        "khi thông tin đưa ra được rút lại nếu đã báo nhầm",
        "declare_anew": "khi có tờ khai khác tại {location}, {direction}, được thông quan",
        "move_declaration": "khi tờ khai {declarations} được sửa địa điểm thành {location}; hoặc "
        "tại địa điểm {locations}",
        "turn_direction": "với chiều {directions} nếu sự kiện ghi sai; hoặc khi tờ khai "
        "{declarations} là {direction}",
        "clear_one": "khi tờ khai {declarations} được thông quan (hoặc ở trạng thái khác được qua)",
        "clear_all": "khi tất cả các tờ khai {declarations} được thông quan (hoặc ở trạng thái "
        "khác được qua)",
        "clear_any": "khi một trong các tờ khai {declarations} được thông quan (hoặc ở trạng "
        "thái khác được qua)",
        "present_too": "khi xuất trình thêm tờ khai {declarations}",
        "present_instead": "khi xuất trình {covering}, không kèm số khác trong {presented}",
        "share_container": "khi tờ khai {alone} khai là đóng chung container, hoặc chỉ một trong "
        "các tờ khai {declarations} khai container này",
        "lift_holds": "khi lệnh {holds} được gỡ bỏ",
        "lift_scans": "khi lệnh {holds} được gỡ bỏ sau soi chiếu; hoặc với mục đích đưa đi kiểm "
        "tra (INSPECTION)",
        "show_customs_seal": "khi thấy niêm phong hải quan số {seals}, hoặc lệnh {holds} được gỡ "
        "bỏ",
        "match_seals": "khi số seal thực tế là {expected}; hoặc khi có thông tin thay niêm phong "
        "với số {seals}",
        "match_seals_absent": "khi số seal thực tế là {expected}; hoặc khi có thông tin thay niêm "
        "phong với số seal đang có",
        "at_most": "với tối đa {room}; hoặc khi khai thêm {excess} và được thông quan",
        "reserved_now": "với tối đa {free}, khi {reserved} đã giữ chỗ cho xe khác được giải phóng",
        "nothing_left": "khi khai thêm {missing} và được thông quan; lượng theo tờ khai đã hết",
        "give_quantity_pieces": "khi sự kiện nêu số kiện",
        "give_quantity_weight": "khi sự kiện nêu trọng lượng",
        "correct_exits_pieces": "khi {count} lần ra trước đây được bổ sung số kiện",
        "correct_exits_weight": "khi {count} lần ra trước đây được bổ sung trọng lượng",
        "name_document": "khi sự kiện nêu chứng từ làm căn cứ",
        "pass_as_declared": "với mục đích thông quan theo tờ khai {declarations}; hoặc khi tờ "
        "khai đó không còn khai hàng hóa này",
        "connect_operator": "khi doanh nghiệp {operator} được kết nối lại và gửi lại sự kiện với "
        "phiên bản mới",
        "report_entry": "khi có thông tin đưa vào tại {location} trước {event}",
        "correct_number": "với số container đúng",
        "cannot_undo_stay": "chỉ khi ngày đưa vào đã ghi sai và được sửa",
        "correct_clock": "khi thời điểm sự kiện được sửa đúng",
        "look_at_seals": "khi số seal thực tế được ghi nhận và là {expected}",
        "declare_recently": "theo tờ khai đăng ký trong vòng {limit} ngày",
    },
}


def render(explanation: Explanation, language: Language) -> str:
    """Returns the whole explanation as plain text, lines of at most 100 columns where words
    allow.
    """
    return _Text(language).explanation(explanation)


class _Text:
    def __init__(self, language: Language) -> None:
        self.language = language
        self.words = WORDS[language]
        self.lines: list[str] = []
        self.sources: list[Source] | None = None

    def say(self, key: str, **operands: Operand) -> str:
        return self.sentence(Sentence(key, operands))

    def sentence(self, sentence: Sentence) -> str:
        values = {name: self.value(value) for name, value in sentence.operands.items()}
        return self.words[sentence.key].format(**values)

    def value(self, value: Operand) -> str:
        match value:
            case str():
                return value
            case Moment(us):
                return vietnam_text(us)
            case Term(word):
                return self.term(word)
            case Amount(quantity, "PIECES"):
                return self.say("pieces", count=quantity)
            case Amount(quantity, _):
                return _kilograms(quantity)
            case int():
                return f"{value:,}"
            case _:
                return self.listed([self.value(item) for item in value])

    def term(self, word: str) -> str:
        return TERMS.get(word, word) if self.language == "vi" else word

    def listed(self, texts: list[str]) -> str:
        if not texts:
            return self.words["none"]
        return self.words["and"].join([", ".join(texts[:-1]), texts[-1]][len(texts) == 1 :])

    def write(self, text: str, depth: int = 0) -> None:
        self.lines += textwrap.wrap(
            text,
            WIDTH_COLUMNS,
            initial_indent="  " * depth,
            subsequent_indent="  " * (depth + 2),
            break_long_words=False,
            break_on_hyphens=False,
        )

    def heading(self, key: str) -> None:
        self.lines += ["", self.words[key]]

    def explanation(self, explanation: Explanation) -> str:
        self.sources = explanation.sources
        live = self.sources is not None
        title = "title_live" if live else "title"
        self.write(self.say(title, unit=explanation.unit, log=explanation.log_name))
        if live:
            self.write(self.words["compacted"])
        self.heading("events_live" if live else "events")
        for event in explanation.events:
            self.write(self.event(event), 1)
        self.heading("declarations")
        for declaration in explanation.declarations:
            self.declaration(declaration)
        self.or_none(explanation.declarations)
        self.heading("holds")
        for hold in explanation.holds:
            self.write(self.hold(hold), 1)
        self.or_none(explanation.holds)
        self.heading("decisions")
        for decision in explanation.decisions:
            self.decision(decision)
        self.or_none(explanation.decisions)
        if explanation.undecided:
            self.write(self.say("undecided", events=[*explanation.undecided]), 1)
        if explanation.alerts:
            self.heading("alerts")
            for alert in explanation.alerts:
                self.write(self.alert(alert), 1)
        if explanation.near_misses:
            self.heading("advice")
            for near_miss in explanation.near_misses:
                self.write(self.near_miss(near_miss), 1)
        return "\n".join(self.lines) + "\n"

    def or_none(self, stories: Iterable[Any]) -> None:
        if not stories:
            self.write(self.words["none"], 1)

    def state(self, story: EventStory | RecordStory) -> str:
        if story.reject is None:
            return self.words[story.state]
        field = story.reject["field"] or self.words["whole_record"]
        detail = story.reject.get("detail")
        text = self.say("REJECTED", reason=story.reject["reason"], field=field)
        return f"{text}: {detail}" if isinstance(detail, str) and detail else text

    def place(self, story: EventStory | RecordStory) -> str:
        received = vietnam_text(story.timestamp_ms * 1000)
        if self.sources is None:
            return f"[{self.say('line', line=str(story.line + 1))}, {received}]"
        return f"[{self.record(*self.sources[story.line])}, {received}]"

    def record(self, topic: str, partition: int, offset: int) -> str:
        return self.say("record", topic=topic, partition=str(partition), offset=str(offset))

    def event(self, story: EventStory) -> str:
        if story.time_us is None:
            return f"{self.words['unreadable']} – {self.state(story)} {self.place(story)}"
        value = story.value
        parts = [
            self.say(
                "event",
                type=Term(value["eventType"]),
                time=Moment(story.time_us),
                unit_type=Term(value["unitType"]),
                direction=Term(value["direction"]),
                location=value["locationCode"],
                operator=value["operatorID"],
                event=value["eventID"],
            )
        ]
        if value.get("purpose") is not None:
            parts.append(self.say("event_purpose", purpose=Term(value["purpose"])))
        quantity = self.quantity(value)
        if quantity:
            parts.append(self.say("event_quantity", quantity=quantity))
        if value.get("seals") is not None:
            seals = list(value["seals"])
            parts.append(
                self.say("event_seals", seals=seals) if seals else self.words["event_no_seal"]
            )
        if value.get("declarations"):
            parts.append(self.say("event_presented", declarations=list(value["declarations"])))
        if value.get("document") is not None:
            parts.append(self.say("event_document", document=value["document"]))
        return f"{'; '.join(parts)} – {self.state(story)} {self.place(story)}"

    def quantity(self, value: dict[str, Any]) -> str:
        parts = []
        if value.get("pieces") is not None:
            parts.append(self.say("pieces", count=value["pieces"]))
        if value.get("weightKg") is not None:
            parts.append(f"{value['weightKg']} kg")
        return ", ".join(parts)

    def declaration(self, story: RecordStory) -> None:
        value = story.value
        if story.state == "REMOVED":
            self.write(f"{self.say('removed', number=story.key)} {self.place(story)}", 1)
            return
        if story.reject is not None:
            self.write(f"{story.key}: {self.state(story)} {self.place(story)}", 1)
            return
        head = self.say(
            "declaration",
            number=story.key,
            version=str(value["version"]),
            status=Term(value["status"]),
            direction=Term(value["direction"]),
            location=value["locationCode"],
            time=Moment(parse_date_time(value["registeredDateTime"])),
        )
        if value.get("destinationLocationCode") is not None:
            head += ", " + self.say("destination", location=value["destinationLocationCode"])
        self.write(f"{head} – {self.state(story)} {self.place(story)}", 1)
        if story.state == "DUPLICATE":
            return
        for entry in story.entries:
            parts = [
                self.say(
                    "entry",
                    unit_type=Term(entry["unitType"]),
                    location=entry.get("locationCode") or value["locationCode"],
                    quantity=self.quantity(entry) or self.words["no_quantity_declared"],
                )
            ]
            if entry.get("seals"):
                parts.append(self.say("entry_seals", seals=list(entry["seals"])))
            if entry.get("shared") is True:
                parts.append(self.words["entry_shared"])
            self.write("; ".join(parts), 2)
        if not story.entries:
            self.write(self.words["not_listed"], 2)

    def hold(self, story: RecordStory) -> str:
        value = story.value
        if story.state == "REMOVED":
            return f"{self.say('removed', number=story.key)} {self.place(story)}"
        if story.reject is not None:
            return f"{story.key}: {self.state(story)} {self.place(story)}"
        text = self.say(
            "hold",
            hold=story.key,
            version=str(value["version"]),
            reason=Term(value["reason"]),
            reference=value["reference"],
            state=Term(value["state"]),
            time=Moment(parse_date_time(value["issuedDateTime"])),
        )
        if value.get("seal") is not None:
            text += ", " + self.say("hold_seal", seal=value["seal"])
        return f"{text} – {self.state(story)} {self.place(story)}"

    def decision(self, story: DecisionStory) -> None:
        decision = story.decision
        self.write(
            self.say(
                "decision",
                outcome=Term(decision["outcome"]),
                operator=decision["operatorID"],
                event=decision["eventID"],
                sequence=decision["sequence"],
                decided=Moment(parse_date_time(decision["decidedDateTime"])),
                time=Moment(parse_date_time(decision["eventDateTime"])),
            ),
            1,
        )
        parts = [
            self.cause(decision["trigger"]),
            self.say("rule_set", rule_set=decision["ruleSet"]),
        ]
        if decision["validUntilDateTime"] is not None:
            until = Moment(parse_date_time(decision["validUntilDateTime"]))
            parts.append(self.say("valid_until", time=until))
        self.write("; ".join(parts), 2)
        weighed = [
            f"{it['declarationNumber']} ({self.term(it['status'])})"
            for it in decision["declarations"]
        ]
        if weighed:
            self.write(self.say("weighed", declarations=[*weighed]), 2)
        elif story.facts.get("needsDeclaration") is not False:
            self.write(self.words["weighed_none"], 2)
        if decision["holds"]:
            self.write(self.say("weighed_holds", holds=list(decision["holds"])), 2)
        if not story.rows:
            self.write(self.words["no_rows"], 2)
        elif self.sources is not None and not story.facts:
            self.write(self.words["facts_gone"], 2)
        for row in story.rows:
            self.row(row)
        self.changes(story)

    def cause(self, trigger: dict[str, Any] | None) -> str:
        if trigger is None:
            return self.words["decided_late"]
        if self.sources is None:
            return self.say("caused_by", line=str(trigger["offset"] + 1))
        record = self.record(trigger["topic"], trigger["partition"], trigger["offset"])
        return self.say("caused_by_record", record=record)

    def row(self, story: RowStory) -> None:
        row = story.row
        words = row.vi if self.language == "vi" else row.en
        text = f"{self.term(row.effect)} {row.code}: {words}"
        if row.effect is Effect.OFF:
            text += f" {self.words['row_off']}"
        self.write(text, 2)
        if story.facts:
            facts = "; ".join(self.sentence(fact) for fact in story.facts)
            self.write(self.say("facts", facts=facts), 3)
        basis = row.basis_vi if self.language == "vi" else row.basis
        self.write(self.words["no_basis"] if basis == "–" else self.say("basis", basis=basis), 3)

    def changes(self, story: DecisionStory) -> None:
        holding = [row for row in story.rows if row.row.effect is Effect.HOLD]
        for row in holding:
            if not row.changes:
                self.write(self.say("change_unknown", code=row.row.code), 2)
        changes = [self.sentence(change) for row in holding for change in row.changes]
        changes = list(dict.fromkeys(changes))
        if len(changes) == 1:
            self.write(self.say("change", change=changes[0] + "."), 2)
        elif changes:
            self.write(self.words["change_all"], 2)
            for change in changes:
                self.write(f"- {change}", 3)

    def alert(self, alert: dict[str, Any]) -> str:
        text = self.say(
            "alert",
            type=alert["type"],
            words=self.words.get(alert["type"], ""),
            time=Moment(parse_date_time(alert["raisedDateTime"])),
            operator=alert["operatorID"],
            location=alert["locationCode"],
        )
        if alert["eventID"] is not None:
            text += ", " + self.say("alert_event", event=alert["eventID"])
        detail = ", ".join(
            f"{name} {_detail(value)}" for name, value in (alert["detail"] or {}).items()
        )
        return f"{text} – {detail}" if detail else text

    def near_miss(self, near_miss: NearMiss) -> str:
        if near_miss.kind == "CHECK_DIGIT":
            return self.say("near_check_digit", unit=near_miss.unit)
        return self.say(
            "near_declared",
            unit=near_miss.unit,
            location=near_miss.location_code,
            direction=Term(near_miss.direction),
            declaration=near_miss.declaration_number or "",
            status=Term(near_miss.status or ""),
        )


def _kilograms(grams: int) -> str:
    return f"{kilograms_text(grams, ',').rstrip('0').rstrip('.')} kg"


def _detail(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_detail, value)) or "–"
    return str(value)
