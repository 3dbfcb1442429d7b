//! Patterns of paths to leave out.

use crate::{Error, Result};

/// The patterns of the paths to leave out.
pub(super) struct Filter(Vec<(glob::Pattern, bool)>);

const MATCHING: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

impl Filter {
    pub(super) fn new(at: &str, patterns: &[String]) -> Result<Filter> {
        let compile = |(number, text): (usize, &String)| {
            let (keep, pattern) = match text.strip_prefix('!') {
                Some(pattern) => (true, pattern),
                None => (false, text.as_str()),
            };
            let pattern = pattern.trim_start_matches('/').trim_end_matches('/');
            let pattern = glob::Pattern::new(pattern).map_err(|error| {
                let problem = format!("{text:?} is not a pattern: {error}");
                Error::spec(format!("{at}[{number}]"), problem, "use *, ?, [a-z] and **")
            })?;
            Ok((pattern, keep))
        };
        let patterns = patterns.iter().enumerate().map(compile);
        Ok(Filter(patterns.collect::<Result<_>>()?))
    }

    /// Whether the last pattern that matches the path or one of its parents excludes it.
    pub(super) fn excludes(&self, path: &str) -> bool {
        let parents = path.match_indices('/').map(|(slash, _)| &path[..slash]);
        let names: Vec<&str> = parents.chain([path]).collect();
        let matches = |pattern: &glob::Pattern| {
            names
                .iter()
                .any(|name| pattern.matches_with(name, MATCHING))
        };
        let decisive = self.0.iter().rev().find(|(pattern, _)| matches(pattern));
        decisive.is_some_and(|(_, keep)| !keep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_matching_pattern_decides() {
        let patterns = [
            "/usr/share/doc",
            "!usr/share/doc/*/copyright",
            "usr/share/man/**",
            "**/*.pyc",
        ];
        let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        let filter = Filter::new("exclude", &patterns).unwrap();
        assert!(filter.excludes("usr/share/doc"));
        assert!(filter.excludes("usr/share/doc/a/changelog.gz"));
        assert!(!filter.excludes("usr/share/doc/a/copyright"));
        assert!(filter.excludes("usr/share/man/man1/a.1"));
        assert!(!filter.excludes("usr/share/man"));
        assert!(filter.excludes("a/b/c.pyc"));
        assert!(!filter.excludes("usr/bin/ls"));
        assert!(Filter::new("exclude", &["a**b".to_owned()]).is_err());
    }
}
