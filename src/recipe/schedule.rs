//! α along the text.

use std::fmt;
use std::str::FromStr;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Number;

use crate::parameter::OutOfRange;

/// Beyond this the sum leaves what logits mean; a larger α is a typing error.
pub const MAX_ALPHA: f32 = 10.0;

/// α for each position of the answer: `0.75`, or `1@0,0.5@64` (a value from a position on), or `1@0..0.5@64` (a
/// straight line from one to the other), or any sequence of these. Positions count generated tokens from 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// The first one is at 0.
    knots: Vec<Knot>,
    /// Positions of the first line that are behind it already: see [`Self::behind`].
    n_passed: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Knot {
    alpha: f32,
    position: usize,
    /// A straight line leads from here to the next knot.
    is_ramp: bool,
}

impl Default for Schedule {
    fn default() -> Self {
        Self::constant(1.0)
    }
}

impl Schedule {
    /// The same α everywhere. Unchecked: see [`Self::validate`].
    #[must_use]
    pub fn constant(alpha: f32) -> Self {
        Self { knots: vec![Knot { alpha, position: 0, is_ramp: false }], n_passed: 0 }
    }

    /// α at a position of the answer.
    #[must_use]
    pub fn at(&self, position: usize) -> f32 {
        let position = position.saturating_add(self.n_passed);
        let next = self.knots.partition_point(|knot| knot.position <= position);
        let knot = self.knots[next.saturating_sub(1)];
        match self.knots.get(next) {
            Some(end) if knot.is_ramp => {
                let share = (position - knot.position) as f32 / (end.position - knot.position) as f32;
                knot.alpha + share * (end.alpha - knot.alpha)
            }
            _ => knot.alpha,
        }
    }

    /// Where it changes its course, in order.
    pub fn positions(&self) -> impl Iterator<Item = usize> {
        self.knots.iter().map(|knot| knot.position.saturating_sub(self.n_passed))
    }

    /// The same as seen from a position on, which becomes 0: at every later one it has, bit by bit, the value that it has here.
    #[must_use]
    pub fn behind(&self, n: usize) -> Self {
        let from = n.saturating_add(self.n_passed);
        let first = self.knots.partition_point(|knot| knot.position <= from).saturating_sub(1);
        let begins_at = self.knots[first].position;
        let is_on_line = self.knots[first].is_ramp && first + 1 < self.knots.len();
        // In the middle of a line its beginning is needed; what was constant begins anew.
        let n_passed = if is_on_line { from - begins_at } else { 0 };
        let origin = from - n_passed;
        let moved = |knot: &Knot| Knot { position: knot.position.saturating_sub(origin), ..*knot };
        Self { knots: self.knots[first..].iter().map(moved).collect(), n_passed }
    }

    /// The α of a schedule that never changes.
    #[must_use]
    pub fn as_constant(&self) -> Option<f32> {
        self.knots.iter().all(|knot| knot.alpha == self.knots[0].alpha).then(|| self.knots[0].alpha)
    }

    /// Refuses an α that is not a number of a sensible size.
    pub fn validate(&self) -> Result<(), OutOfRange> {
        self.knots.iter().try_for_each(|knot| check_alpha(knot.alpha))
    }

    /// The same for a weight that goes by another name.
    pub fn validate_as(&self, name: &'static str) -> Result<(), OutOfRange> {
        self.validate().map_err(|error| OutOfRange { name, ..error })
    }
}

/// Refuses an α that is not a number of a sensible size.
pub fn check_alpha(alpha: f32) -> Result<(), OutOfRange> {
    if alpha.abs() <= MAX_ALPHA {
        return Ok(());
    }
    Err(OutOfRange::new("alpha", alpha, format!("a number from -{MAX_ALPHA} to {MAX_ALPHA}")))
}

impl FromStr for Schedule {
    type Err = OutOfRange;

    fn from_str(text: &str) -> Result<Self, OutOfRange> {
        let expected = "a number by itself, or values each with its position as in 1@0,0.5@64 or 1@0..0.5@64";
        let unlike = |part: &str| OutOfRange::new("alpha", format!("{part:?}"), expected);
        if let Ok(alpha) = text.trim().parse() {
            let schedule = Self::constant(alpha);
            schedule.validate()?;
            return Ok(schedule);
        }
        let mut knots: Vec<Knot> = Vec::new();
        for line in text.split(',') {
            let mut stops = line.split("..").peekable();
            while let Some(stop) = stops.next() {
                let (alpha, position) = stop.split_once('@').ok_or_else(|| unlike(stop))?;
                let alpha = alpha.trim().parse().map_err(|_| unlike(stop))?;
                let position = position.trim().parse().map_err(|_| unlike(stop))?;
                check_alpha(alpha)?;
                match knots.last() {
                    None if position != 0 => {
                        return Err(OutOfRange::new("alpha", format!("{stop:?} first"), "position 0 first"));
                    }
                    Some(before) if before.position >= position => {
                        let got = format!("{stop:?} behind position {}", before.position);
                        return Err(OutOfRange::new("alpha", got, "positions that grow"));
                    }
                    _ => knots.push(Knot { alpha, position, is_ramp: stops.peek().is_some() }),
                }
            }
        }
        Ok(Self { knots, n_passed: 0 })
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [Knot { alpha, .. }] = self.knots[..] {
            return write!(f, "{alpha}");
        }
        for (i, (Knot { is_ramp, .. }, position)) in self.knots.iter().zip(self.positions()).enumerate() {
            let joint = if *is_ramp { ".." } else { "," };
            write!(f, "{}@{position}{}", self.at(position), if i + 1 < self.knots.len() { joint } else { "" })?;
        }
        Ok(())
    }
}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.knots[..] {
            [Knot { alpha, .. }] => serializer.serialize_f32(alpha),
            _ => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrText;
        impl<'de> Visitor<'de> for NumberOrText {
            type Value = Schedule;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or a text such as \"1@0..0.5@64\"")
            }
            fn visit_f64<E>(self, alpha: f64) -> Result<Schedule, E> {
                Ok(Schedule::constant(alpha as f32))
            }
            fn visit_i64<E>(self, alpha: i64) -> Result<Schedule, E> {
                Ok(Schedule::constant(alpha as f32))
            }
            fn visit_u64<E>(self, alpha: u64) -> Result<Schedule, E> {
                Ok(Schedule::constant(alpha as f32))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Schedule, E> {
                text.parse().map_err(E::custom)
            }
            /// A number of `serde_json`'s with its feature `arbitrary_precision`.
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Schedule, A::Error> {
                let number = Number::deserialize(MapAccessDeserializer::new(map));
                let number = number.map_err(|_| A::Error::invalid_type(Unexpected::Map, &self))?;
                Ok(Schedule::constant(number.as_f64().unwrap_or(f64::NAN) as f32))
            }
        }
        deserializer.deserialize_any(NumberOrText)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, positions: &[usize]) -> Vec<f32> {
        let schedule: Schedule = text.parse().expect(text);
        positions.iter().map(|&position| schedule.at(position)).collect()
    }

    #[test]
    fn steps_lines_and_constants() {
        assert_eq!(at("0.75", &[0, 1, 999]), [0.75, 0.75, 0.75]);
        assert_eq!(at("1.0@0,0.5@64", &[0, 63, 64, 999]), [1.0, 1.0, 0.5, 0.5]);
        assert_eq!(at("1@0..0@4", &[0, 1, 2, 3, 4, 5]), [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]);
        assert_eq!(at("0@0..1@2..0@4,-1@8", &[0, 1, 2, 3, 4, 7, 8]), [0.0, 0.5, 1.0, 0.5, 0.0, 0.0, -1.0]);
    }

    #[test]
    fn from_a_position_on_it_is_the_same() {
        for text in ["0.75", "1@0,0.5@64", "1@0..0.1@7", "0@0..1@2..0.3@9,-1@12", "0.3@0..0.7@3,0.1@3000000000"] {
            let schedule: Schedule = text.parse().expect(text);
            assert_eq!(schedule.behind(0), schedule);
            for n in 0..20 {
                let behind = schedule.behind(n);
                for k in 0..20 {
                    assert_eq!(behind.at(k), schedule.at(n + k), "{text} behind {n} at {k}");
                    assert_eq!(behind.behind(k), schedule.behind(n + k), "{text} behind {n} behind {k}");
                }
            }
        }
        let written = |text: &str, n| text.parse::<Schedule>().expect(text).behind(n).to_string();
        assert_eq!(written("1@0,0.5@64", 60), "1@0,0.5@4");
        assert_eq!(written("1@0,0.5@64", 64), "0.5");
        assert_eq!(written("1@0..0@4,2@8", 3), "0.25@0..0@1,2@5");
        assert_eq!(written("1@0..0@4", 9), "0");
        let positions: Vec<_> = "1@0..0@4,2@8".parse::<Schedule>().expect("one").behind(3).positions().collect();
        assert_eq!(positions, [0, 1, 5]);
        let far = "1@0..0@4".parse::<Schedule>().expect("one").behind(usize::MAX);
        assert_eq!(far.at(usize::MAX), 0.0);
    }

    #[test]
    fn what_is_written_reads_back() {
        for text in ["0.75", "1@0,0.5@64", "1@0..0.5@64", "0@0..1@2..0@4,-1@8"] {
            assert_eq!(text.parse::<Schedule>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_written_as_json_reads_back() {
        for text in ["0.75", "-1", "2e-8", "0.1", "1@0,0.5@64", "1@0..0.5@64"] {
            let schedule: Schedule = text.parse().expect(text);
            let json = serde_json::to_string(&schedule).expect("JSON");
            assert_eq!(serde_json::from_str::<Schedule>(&json).expect(&json), schedule);
        }
        assert_eq!(serde_json::from_str::<Schedule>("2").expect("an integer"), Schedule::constant(2.0));
        for other in ["[1]", "{\"a\": 1}", "null"] {
            let error = serde_json::from_str::<Schedule>(other).expect_err(other).to_string();
            assert!(error.contains("expected a number, or a text"), "{error}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_the_part_that_is_wrong() {
        for (text, part) in [
            ("", "\"\""),
            ("nan", "NaN"),
            ("11", "11"),
            ("1@0,x@3", "\"x@3\""),
            ("1@0,0.5", "\"0.5\""),
            ("1@5", "position 0 first"),
            ("1@0,0@0", "positions that grow"),
            ("1@0,inf@4", "inf"),
            ("1@0..", "\"\""),
        ] {
            let error = text.parse::<Schedule>().expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
