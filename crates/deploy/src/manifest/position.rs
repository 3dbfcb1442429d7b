//! Positions of bytes in a text.

use super::Position;

/// Finds the positions of bytes, which are asked for in their order: the text is counted once.
pub(super) struct Positions<'a> {
    text: &'a str,
    /// The byte that was asked for last, and its position.
    last: usize,
    position: Position,
}

const START: Position = Position { line: 1, column: 1 };

impl<'a> Positions<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Positions {
            text,
            last: 0,
            position: START,
        }
    }

    /// Returns the position of a byte.
    pub(super) fn at(&mut self, byte: usize) -> Position {
        if byte < self.last {
            (self.last, self.position) = (0, START);
        }
        let passed = &self.text[self.last..byte];
        let line = passed.rfind('\n').map(|end| &passed[end + 1..]);
        self.position.line += passed.matches('\n').count();
        self.position.column = match line {
            Some(line) => 1 + line.chars().count(),
            None => self.position.column + passed.chars().count(),
        };
        self.last = byte;
        self.position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_characters_are_counted_from_one() {
        let mut positions = Positions::of("aü\nb\n\nc");
        let expected = [
            (0, (1, 1)),
            (3, (1, 3)),
            (4, (2, 1)),
            (7, (4, 1)),
            (1, (1, 2)),
        ];
        for (byte, (line, column)) in expected {
            assert_eq!(positions.at(byte), Position { line, column });
        }
    }
}
