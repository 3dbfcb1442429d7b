//! Durations as people write them in flags and environment variables.

use std::time::Duration;

/// Reads `500ms`, `30s`, `1m 30s`, `2h`. A bare number has no unit and is an error.
pub fn parse(text: &str) -> Result<Duration, String> {
    let signed: jiff::SignedDuration = text
        .parse()
        .map_err(|error| format!("{text:?} is not a duration such as 500ms, 30s or 1m: {error}"))?;
    Duration::try_from(signed).map_err(|_| format!("{text:?} is negative"))
}

/// Like [`parse`], but refuses zero: for a heartbeat or an expiry.
pub fn parse_positive(text: &str) -> Result<Duration, String> {
    match parse(text)? {
        Duration::ZERO => Err(format!("{text:?} must be more than zero")),
        duration => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn says_what_is_wrong() {
        assert!(parse("10").unwrap_err().contains("\"10\""));
        assert!(parse("-1s").unwrap_err().contains("negative"));
        assert!(parse_positive("0s").unwrap_err().contains("more than zero"));
    }
}
