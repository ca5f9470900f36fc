/* Instants and days as CONTRACT.md section 1 limits them.
 *
 * What it is: RFC 3339 date-times to int64 microseconds UTC and back, dates to days and back.
 * Who calls it: the record scanner, the writer of decisions and alerts, the replay's tables.
 * What it must never know: JSON, records, time zones other than the offset in the text.
 *
 * Accepted is `YYYY-MM-DDThh:mm:ss[.f{1,9}](Z|+hh:mm|-hh:mm)`, T and Z in upper case, a day that
 * exists, no second 60, an offset up to 23:59, years 1970 to 2199 as written. The fraction is cut,
 * not rounded, to microseconds: all instants in range are then ordered as their texts are.
 */
#ifndef GATEJOIN_DATE_TIME_H
#define GATEJOIN_DATE_TIME_H

#include <stdint.h>
#include <string.h>

#include "simd_path.h"

#define DATE_TIME_YEAR_MIN 1970
#define DATE_TIME_YEAR_MAX 2199
#define DATE_TIME_TEXT_MIN 20     /* 2018-08-09T03:04:05Z */
#define DATE_TIME_TEXT_MAX 35     /* 2018-08-09T03:04:05.000000000+07:00 */
#define DATE_TIME_WRITTEN 27      /* 2018-08-09T03:04:05.000000Z */
#define DATE_TEXT 10              /* 2018-08-09 */
#define DATE_TIME_READ_AHEAD 40   /* bytes date_time_parse_padded may touch */
#define MICROSECONDS_PER_SECOND INT64_C(1000000)
#define MICROSECONDS_PER_DAY INT64_C(86400000000)

static inline uint64_t date_time_load8(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

/* Non-zero if any byte of `word` selected by `mask` (0xff each) is not '0'..'9'. */
static inline uint64_t date_time_not_digits(uint64_t word, uint64_t mask)
{
    uint64_t digits = (word ^ UINT64_C(0x3030303030303030)) & mask;
    return ((digits + UINT64_C(0x7676767676767676)) | digits) & UINT64_C(0x8080808080808080);
}

/* In each byte the number that the digit there and the next one write, if they are digits. */
static inline uint64_t date_time_pairs(uint64_t word)
{
    word &= UINT64_C(0x0f0f0f0f0f0f0f0f);
    return word * 10 + (word >> 8);
}

/* Byte `place` of a word. */
static inline uint32_t date_time_byte(uint64_t word, uint32_t place)
{
    return (uint32_t)(word >> 8 * place) & 0xff;
}

/* Days since 1970-01-01 of a calendar day, or -1 if there is no such day in 1970..2199. */
static inline int32_t date_days(uint32_t year, uint32_t month, uint32_t day)
{
    static const uint16_t days_before[16] = {0,   0,   31,  59,  90,  120, 151, 181,
                                             212, 243, 273, 304, 334, 365, 365, 365};
    static const uint8_t days_in[16] = {0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 0, 0, 0};
    if (year - DATE_TIME_YEAR_MIN > DATE_TIME_YEAR_MAX - DATE_TIME_YEAR_MIN || month > 12)
        return -1;
    uint32_t leap = (year % 4 == 0) & (year != 2100); /* of these years only that one */
    if (day - 1 >= days_in[month] + (leap & (month == 2)))
        return -1;
    uint32_t years = year - DATE_TIME_YEAR_MIN;
    uint32_t leap_days = (years + 1) / 4 - (year > 2100); /* of earlier years: 1972, 1976 ... */
    return (int32_t)(years * 365 + leap_days + days_before[month] + (leap & (month > 2)) + day - 1);
}

/* Parses a date-time. DATE_TIME_READ_AHEAD bytes from `text` must be readable, whatever they are.
 * Returns 1 and sets `microseconds`, or 0 if the text is none. An offset may carry the instant up
 * to a day beyond the years as written. */
static inline int date_time_parse_padded(const uint8_t *text, uint64_t length,
                                         int64_t *microseconds)
{
    if (length - DATE_TIME_TEXT_MIN > DATE_TIME_TEXT_MAX - DATE_TIME_TEXT_MIN)
        return 0;
    uint64_t first = date_time_load8(text);       /* 2018-08- */
    uint64_t second = date_time_load8(text + 8);  /* 09T03:04 */
    uint64_t third = date_time_load8(text + 13);  /* :04:05 and two more bytes */
    /* With the template taken off, a good byte is 0 to 9 where a digit belongs and 0 elsewhere;
     * adding 0x76 and 0x7f sets the high bit of all others. */
    uint64_t first_off = first ^ UINT64_C(0x2d30302d30303030);
    uint64_t second_off = second ^ UINT64_C(0x30303a3030543030);
    uint64_t third_off = (third ^ UINT64_C(0x000030303a30303a)) & UINT64_C(0x0000ffffffffffff);
    uint64_t wrong = (first_off | (first_off + UINT64_C(0x7f76767f76767676)) | second_off |
                      (second_off + UINT64_C(0x76767f76767f7676)) | third_off |
                      (third_off + UINT64_C(0x000076767f76767f))) &
                     UINT64_C(0x8080808080808080);
    uint64_t year_month = date_time_pairs(first), day_time = date_time_pairs(second);
    uint32_t hour = date_time_byte(day_time, 3), minute = date_time_byte(day_time, 6);
    uint32_t seconds = date_time_byte(date_time_pairs(third), 4);
    int32_t days = date_days(date_time_byte(year_month, 0) * 100 + date_time_byte(year_month, 2),
                             date_time_byte(year_month, 5), date_time_byte(day_time, 0));
    if (wrong || days < 0 || hour > 23 || minute > 59 || seconds > 59)
        return 0;

    uint64_t at = 19;
    uint32_t fraction = 0;
    if (text[at] == '.') {
        uint64_t start = ++at;
        uint32_t scale = 100000;
        while ((uint8_t)(text[at] - '0') <= 9 && at - start < 9) {
            fraction += (uint32_t)(text[at] - '0') * scale;
            scale /= 10; /* 0 after six digits: the rest is cut */
            at++;
        }
        if (at == start)
            return 0;
    }
    int64_t offset_minutes = 0;
    if (text[at] == 'Z') {
        if (at + 1 != length)
            return 0;
    } else {
        uint64_t offset = date_time_load8(text + at); /* +07:00 and two more bytes */
        uint64_t pairs = date_time_pairs(offset);
        uint32_t offset_hour = date_time_byte(pairs, 1), offset_minute = date_time_byte(pairs, 4);
        uint8_t sign = text[at];
        if (at + 6 != length || (sign != '+' && sign != '-') ||
            (offset >> 24 & 0xff) != ':' ||
            date_time_not_digits(offset, UINT64_C(0x0000ffff00ffff00)) || offset_hour > 23 ||
            offset_minute > 59)
            return 0;
        offset_minutes = (int64_t)(offset_hour * 60 + offset_minute);
        if (sign == '-')
            offset_minutes = -offset_minutes;
    }
    int64_t time = (int64_t)(hour * 3600 + minute * 60 + seconds) - offset_minutes * 60;
    *microseconds = days * MICROSECONDS_PER_DAY + time * MICROSECONDS_PER_SECOND + fraction;
    return 1;
}

/* The last instant read, without what its clock said. Zero-initialised. */
typedef struct {
    uint64_t date[2];    /* YYYY-MM- and M-DDT, which overlap */
    uint64_t zone;       /* +hh:mm or Z, and in the highest byte its length; 0: none yet */
    int64_t midnight_us; /* of that day there, UTC */
} date_time_memo;

/* Where the clock ends in a text of a usual length: none or three fraction digits, then Z or an
 * offset. Else 0: such texts are for date_time_parse_padded. */
static inline uint32_t date_time_clock_end(uint64_t length)
{
    static const uint8_t ends[32] = {[20] = 19, [24] = 23, [25] = 19, [29] = 23};
    return length < sizeof ends ? ends[length] : 0;
}

/* What may stand at a place of a date-time of a usual length, as far as date_time_parse_again can
 * be spared looking. Returns 0 where it looks itself. */
static inline int date_time_bounds(uint64_t length, uint64_t place, uint8_t *lowest,
                                   uint8_t *highest)
{
    static const uint8_t digit_max[] = "29:59:59.999"; /* 03:04:05.678 */
    if (place < 11 || place >= date_time_clock_end(length))
        return 0;
    *highest = digit_max[place - 11];
    *lowest = (uint8_t)(*highest - '0') <= 9 ? '0' : *highest;
    return 1;
}

/* date_time_parse_padded, faster where day and offset are those of before: neighbouring records
 * mostly have the same, to the last byte. `proven`, a constant, says that what date_time_bounds
 * tells of texts of this length was seen to. */
static SIMD_ALWAYS_INLINE int date_time_parse_again(date_time_memo *memo, const uint8_t *text,
                                                    uint64_t length, int proven,
                                                    int64_t *microseconds)
{
    const uint32_t at = date_time_clock_end(length);
    if (!at)
        return date_time_parse_padded(text, length, microseconds);
    /* With its length, or a Z with five NULs behind it, which JSON can spell, would be a Z. */
    const uint64_t zone =
        (date_time_load8(text + at) &
         (length - at == 1 ? UINT64_C(0xff) : UINT64_C(0xffffffffffff))) |
        (length - at) << 56;
    const uint64_t date[2] = {date_time_load8(text), date_time_load8(text + 3)};
    const uint64_t clock = date_time_load8(text + 11);
    const uint64_t pairs = date_time_pairs(clock);
    const uint32_t hour = date_time_byte(pairs, 0), minute = date_time_byte(pairs, 3);
    const uint32_t second = date_time_byte(pairs, 6);
    const int64_t of_day = (int64_t)(hour * 3600 + minute * 60 + second);
    int wrong = hour > 23;
    if (!proven) {
        const uint64_t digits = clock ^ UINT64_C(0x30303a30303a3030);
        wrong |= (((digits | (digits + UINT64_C(0x76767f76767f7676))) &
                   UINT64_C(0x8080808080808080)) != 0) |
                 (minute > 59) | (second > 59);
    }
    uint32_t fraction_us = 0;
    if (at == 23) {
        const uint64_t digits = date_time_load8(text + 19); /* .123 */
        if (!proven)
            wrong |= (digits & 0xff) != '.' || date_time_not_digits(digits, UINT64_C(0xffffff00));
        fraction_us = (date_time_byte(date_time_pairs(digits), 1) * 10 +
                       ((uint32_t)(digits >> 24) & 15)) * 1000;
    }
    const int64_t since_midnight_us = of_day * MICROSECONDS_PER_SECOND + fraction_us;
    if (__builtin_expect(wrong || zone != memo->zone || date[0] != memo->date[0] ||
                             date[1] != memo->date[1], 0)) {
        if (!date_time_parse_padded(text, length, microseconds))
            return 0;
        /* Or it is the end of a fraction of another length. */
        if (text[at] == 'Z' || text[at] == '+' || text[at] == '-') {
            memo->date[0] = date[0];
            memo->date[1] = date[1];
            memo->zone = zone;
            memo->midnight_us = *microseconds - since_midnight_us;
        }
        return 1;
    }
    *microseconds = memo->midnight_us + since_midnight_us;
    return 1;
}

/* The same for a text that ends where its memory may end. */
static inline int date_time_parse(const uint8_t *text, uint64_t length, int64_t *microseconds)
{
    uint8_t padded[DATE_TIME_READ_AHEAD + 8] = {0};
    if (length > DATE_TIME_TEXT_MAX)
        return 0;
    memcpy(padded, text, length);
    return date_time_parse_padded(padded, length, microseconds);
}

/* Parses YYYY-MM-DD, a day that exists in 1970..2199, to days since 1970-01-01. Returns 0 if the
 * text is none. */
static inline int date_parse(const uint8_t *text, uint64_t length, int32_t *days)
{
    if (length != DATE_TEXT || text[4] != '-' || text[7] != '-')
        return 0;
    static const uint8_t digits_at[8] = {0, 1, 2, 3, 5, 6, 8, 9};
    uint32_t digits[8];
    for (int i = 0; i < 8; i++) {
        digits[i] = (uint32_t)text[digits_at[i]] - '0';
        if (digits[i] > 9)
            return 0;
    }
    *days = date_days(digits[0] * 1000 + digits[1] * 100 + digits[2] * 10 + digits[3],
                      digits[4] * 10 + digits[5], digits[6] * 10 + digits[7]);
    return *days >= 0;
}

static inline void date_time_write_two(uint8_t *out, uint32_t value)
{
    out[0] = (uint8_t)('0' + value / 10);
    out[1] = (uint8_t)('0' + value % 10);
}

/* Writes the DATE_TEXT bytes of a day (no NUL). Days beyond the years 0000 to 9999, which no
 * record can hold, are written as the nearest day within. */
static inline void date_format(int64_t days, uint8_t *out)
{
    const int64_t days_min = -719528, days_max = 2932896;
    days = days < days_min ? days_min : days > days_max ? days_max : days;
    /* Years are counted from March, so that the leap day comes last; see Howard Hinnant,
     * "chrono-Compatible Low-Level Date Algorithms". 400 years are added to keep all positive. */
    uint32_t shifted = (uint32_t)(days + 719468 + 146097);
    uint32_t era = shifted / 146097, day_of_era = shifted % 146097;
    uint32_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    uint32_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint32_t month_from_march = (5 * day_of_year + 2) / 153;
    uint32_t day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    uint32_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    uint32_t year = era * 400 + year_of_era - 400 + (month <= 2);
    date_time_write_two(out, year / 100);
    date_time_write_two(out + 2, year % 100);
    out[4] = '-';
    date_time_write_two(out + 5, month);
    out[7] = '-';
    date_time_write_two(out + 8, day);
}

/* Writes the DATE_TIME_WRITTEN bytes of an instant (no NUL). Instants beyond the years 0000 to
 * 9999 are written as the nearest one within. */
static inline void date_time_format(int64_t microseconds, uint8_t *out)
{
    const int64_t instant_min = INT64_C(-62167219200000000);
    const int64_t instant_max = INT64_C(253402300799999999);
    microseconds = microseconds < instant_min ? instant_min
                   : microseconds > instant_max ? instant_max
                                                : microseconds;
    int64_t days = microseconds / MICROSECONDS_PER_DAY;
    int64_t rest = microseconds % MICROSECONDS_PER_DAY;
    if (rest < 0) {
        rest += MICROSECONDS_PER_DAY;
        days--;
    }
    uint32_t seconds = (uint32_t)(rest / MICROSECONDS_PER_SECOND);
    uint32_t fraction = (uint32_t)(rest % MICROSECONDS_PER_SECOND);
    date_format(days, out);
    out[10] = 'T';
    date_time_write_two(out + 11, seconds / 3600);
    out[13] = ':';
    date_time_write_two(out + 14, seconds / 60 % 60);
    out[16] = ':';
    date_time_write_two(out + 17, seconds % 60);
    out[19] = '.';
    date_time_write_two(out + 20, fraction / 10000);
    date_time_write_two(out + 22, fraction / 100 % 100);
    date_time_write_two(out + 24, fraction % 100);
    out[26] = 'Z';
}

#endif
