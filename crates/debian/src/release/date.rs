//! Dates of release files.

use crateyard_text::time;

/// A time in seconds since 1970, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date(u64);

const DAY: u64 = 86_400;
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

impl Date {
    /// 1970-01-01.
    pub(crate) const EPOCH: Date = Date(0);

    /// Reads the machine's clock. Use it only to check expiry, never for output.
    pub fn now() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Date(since.map_or(0, |since| since.as_secs()))
    }

    /// Reads the format of release files: `Sat, 11 Jul 2026 10:16:37 UTC`.
    pub fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [_, day, month, year, time, "UTC" | "GMT" | "+0000"] = words[..] else {
            return None;
        };
        let month = MONTHS.iter().position(|name| *name == month)? as i64 + 1;
        let clock: Vec<i64> = time
            .split(':')
            .map(|n| n.parse().ok())
            .collect::<Option<_>>()?;
        let [hour, minute, second] = clock[..] else {
            return None;
        };
        let (day, year): (i64, i64) = (day.parse().ok()?, year.parse().ok()?);
        let in_range =
            (1..=31).contains(&day) && (0..24).contains(&hour) && (0..60).contains(&minute);
        if !in_range || !(0..=60).contains(&second) || !(1970..10_000).contains(&year) {
            return None;
        }
        let days = u64::try_from(days_before(year, month, day)).ok()?;
        let seconds = u64::try_from(hour * 3600 + minute * 60 + second).ok()?;
        Some(Date(days * DAY + seconds))
    }

    /// Returns the time `hours` later.
    pub fn plus_hours(self, hours: u64) -> Self {
        Date(self.0 + hours * 3600)
    }

    /// Formats the time as in the snapshot archive's addresses: `20260711T101637Z`.
    pub fn timestamp(self) -> String {
        time::timestamp(self.0)
    }
}

impl std::fmt::Display for Date {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // 2026-07-11T10:16:37Z
        let text = time::rfc3339(self.0);
        write!(f, "{} {} UTC", &text[..10], &text[11..16])
    }
}

/// Days from 1970-01-01 to a day of the Gregorian calendar. Years are counted from March, so that
/// the leap day is the last of its year.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    days + (153 * month_from_march + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_go_there_and_back() {
        for (text, timestamp) in [
            ("Thu, 01 Jan 1970 00:00:00 UTC", "19700101T000000Z"),
            ("Sat, 11 Jul 2026 10:16:37 UTC", "20260711T101637Z"),
            ("Thu, 29 Feb 2024 23:59:59 UTC", "20240229T235959Z"),
            ("Tue, 31 Dec 2024 12:00:00 UTC", "20241231T120000Z"),
            ("Mon, 01 Mar 2100 00:00:01 UTC", "21000301T000001Z"),
        ] {
            let date = Date::parse(text).expect(text);
            assert_eq!(date.timestamp(), timestamp);
        }
        let date = Date::parse("Sat, 11 Jul 2026 10:16:37 UTC").expect("a date");
        assert_eq!(date.0, 1_783_764_997);
        assert_eq!(date.plus_hours(14).timestamp(), "20260712T001637Z");
        assert!(Date::parse("Sat, 11 Jul 2026 10:16:37 CEST").is_none());
    }
}
