//! Points in time as text, in UTC.

/// The seconds of a day.
const DAY: u64 = 86_400;

/// Returns seconds since 1970 as RFC 3339 text, such as `2023-11-14T22:13:20Z`.
pub fn rfc3339(epoch: u64) -> String {
    let (year, month, day) = civil((epoch / DAY) as i64);
    let second = epoch % DAY;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Returns seconds since 1970 in ISO 8601's basic form, such as `20231114T221320Z`.
pub fn timestamp(epoch: u64) -> String {
    rfc3339(epoch).replace(['-', ':'], "")
}

/// Returns year, month and day for a number of days since 1970.
///
/// The unit runner has a copy (crates/unit/src/git.rs), because it needs no other crate of the
/// workspace.
/// <https://howardhinnant.github.io/date_algorithms.html>
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::{rfc3339, timestamp};

    #[test]
    fn dates_are_right() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_700_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(rfc3339(4_107_542_399), "2100-02-28T23:59:59Z");
        assert_eq!(rfc3339(4_107_542_400), "2100-03-01T00:00:00Z");
        assert_eq!(timestamp(1_700_000_000), "20231114T221320Z");
    }
}
