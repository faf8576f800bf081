//! How evidence is written down and read again: one pass over the same fields for both.
//!
//! What the configuration says of a gate is not written. A reader begins with a panel that
//! the configuration has made, and fills in what had been seen. Counts take as many bytes
//! as they need, and other numbers are their bits, so that what is read is what was written.
//!
//! A number that no panel could have written makes the whole unreadable: a negative
//! capital, a count of centuries. What is read can be gone on with, whatever the bytes were.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::verdict::Estimate;
use crate::outcome::{ErrorClass, RequestId};
use crate::tally::{Counts, Tally};
use crate::time::Timestamp;
use crate::weight::Weight;

/// No count of a process is higher, and sums of two fit well into their type.
const COUNT_MAX: u64 = 1 << 53;

/// Evidence stays below, so that products of a few numbers stay finite.
const NUMBER_MAX: f64 = 1e285;

/// What is written to, or read from.
pub(crate) struct Tape<'a> {
    mode: Mode<'a>,
}

enum Mode<'a> {
    /// Something was read that nobody has written.
    Damaged,
    /// Clocks were ahead by so much when it was written, in microseconds.
    Reading {
        rest: &'a [u8],
        ahead: u64,
    },
    Writing(Vec<u8>),
}

/// What can be written to a tape, and filled in from one.
pub(crate) trait Kept {
    /// Writes what is here, or replaces it with what was written.
    fn pass(&mut self, tape: &mut Tape<'_>);
}

/// Keeps these fields of a type, in this order. The others, which must be named too, come
/// from the configuration or are made anew.
macro_rules! kept {
    (
        $type:ty { $($field:ident),+ $(,)? }
        $(without { $($other:ident),+ $(,)? })?
    ) => {
        impl $crate::gate::tape::Kept for $type {
            fn pass(&mut self, tape: &mut $crate::gate::tape::Tape<'_>) {
                let Self { $($field,)+ $($($other: _,)+)? } = self;
                $($crate::gate::tape::Kept::pass($field, tape);)+
            }
        }
    };
}

pub(crate) use kept;

impl<'a> Tape<'a> {
    pub(crate) const fn blank() -> Self {
        Self {
            mode: Mode::Writing(Vec::new()),
        }
    }

    pub(crate) const fn of(bytes: &'a [u8]) -> Self {
        let mode = Mode::Reading {
            rest: bytes,
            ahead: 0,
        };
        Self { mode }
    }

    /// What was written; nothing for a reader.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        match self.mode {
            Mode::Writing(bytes) => bytes,
            Mode::Damaged | Mode::Reading { .. } => Vec::new(),
        }
    }

    /// Whether all was read, and nothing that nobody has written.
    pub(crate) const fn is_read(&self) -> bool {
        matches!(self.mode, Mode::Reading { rest: [], .. })
    }

    pub(crate) const fn is_damaged(&self) -> bool {
        matches!(self.mode, Mode::Damaged)
    }

    pub(crate) const fn is_writing(&self) -> bool {
        matches!(self.mode, Mode::Writing(_))
    }

    /// What is read from here on was written at `at`. Times after `now` are moved back with
    /// it: a clock that was ahead must not hold up what is to happen next.
    pub(crate) fn was_written(&mut self, at: Timestamp, now: Timestamp) {
        if let Mode::Reading { ahead, .. } = &mut self.mode {
            *ahead = at.as_micros().saturating_sub(now.as_micros());
        }
    }

    /// What was read is damaged unless this holds.
    pub(crate) fn demand(&mut self, holds: bool) {
        if !holds && !self.is_writing() {
            self.mode = Mode::Damaged;
        }
    }

    /// So many bytes as they are.
    pub(crate) fn bytes<const N: usize>(&mut self, value: &mut [u8; N]) {
        match &mut self.mode {
            Mode::Damaged => {}
            Mode::Reading { rest, .. } => match rest.split_first_chunk::<N>() {
                Some((first, others)) => {
                    *value = *first;
                    *rest = others;
                }
                None => self.mode = Mode::Damaged,
            },
            Mode::Writing(bytes) => bytes.extend_from_slice(value),
        }
    }

    /// Any 64 bits.
    pub(crate) fn bits(&mut self, value: &mut u64) {
        let mut bytes = value.to_le_bytes();
        self.bytes(&mut bytes);
        *value = u64::from_le_bytes(bytes);
    }

    /// A count of at most `max`, seven bits to a byte, the lowest first. Unchanged where
    /// what is read is damaged.
    pub(crate) fn count(&mut self, value: &mut u64, max: u64) {
        if self.is_writing() {
            let mut rest = (*value).min(max);
            while rest >= 0x80 {
                self.bytes(&mut [low_byte(rest) | 0x80]);
                rest >>= 7;
            }
            self.bytes(&mut [low_byte(rest)]);
            return;
        }
        let mut read = 0_u64;
        for shift in (0..63).step_by(7) {
            let mut byte = [0];
            self.bytes(&mut byte);
            read |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                self.demand(read <= max);
                if !self.is_damaged() {
                    *value = read;
                }
                return;
            }
        }
        self.demand(false);
    }

    /// A number in this range, exactly. Unchanged where what is read is damaged.
    pub(crate) fn number(&mut self, value: &mut f64, range: RangeInclusive<f64>) {
        let mut bits = value.to_bits();
        self.bits(&mut bits);
        let read = f64::from_bits(bits);
        self.demand(range.contains(&read));
        if !self.is_damaged() {
            *value = read;
        }
    }

    /// How many of something follow: so many, or as many as were written. None where what
    /// is read is damaged.
    pub(crate) fn length(&mut self, len: usize, max: usize) -> usize {
        let mut count = len as u64;
        self.count(&mut count, max as u64);
        if let Mode::Reading { rest, .. } = &self.mode {
            // Each takes a byte at least.
            let fits = count <= rest.len() as u64;
            self.demand(fits);
        }
        if self.is_damaged() {
            0
        } else {
            usize::try_from(count).unwrap_or_default()
        }
    }

    /// What is there, or not, by the configuration.
    pub(crate) fn present<T: Kept>(&mut self, value: &mut Option<T>) {
        let mut is_there = value.is_some();
        is_there.pass(self);
        self.demand(is_there == value.is_some());
        if let Some(value) = value {
            value.pass(self);
        }
    }

    /// At most `max` values, each read over a blank one.
    pub(crate) fn queue<T>(&mut self, queue: &mut VecDeque<T>, max: usize, blank: &T)
    where
        T: Clone + Kept,
    {
        let len = self.length(queue.len(), max);
        if !self.is_writing() {
            queue.clear();
            queue.resize(len, blank.clone());
        }
        for value in queue {
            value.pass(self);
        }
    }

    /// At most `max` values by keys, both read over blank ones.
    pub(crate) fn map<K, V>(&mut self, map: &mut BTreeMap<K, V>, max: usize, blank: &(K, V))
    where
        K: Clone + Kept + Ord,
        V: Clone + Kept,
    {
        let len = self.length(map.len(), max);
        if self.is_writing() {
            for (key, value) in map {
                key.clone().pass(self);
                value.pass(self);
            }
            return;
        }
        map.clear();
        for _ in 0..len {
            let (mut key, mut value) = blank.clone();
            key.pass(self);
            value.pass(self);
            map.insert(key, value);
        }
        self.demand(map.len() == len);
    }
}

/// The lowest eight bits.
const fn low_byte(number: u64) -> u8 {
    number.to_le_bytes()[0]
}

impl Kept for u64 {
    fn pass(&mut self, tape: &mut Tape<'_>) {
        tape.count(self, COUNT_MAX);
    }
}

impl Kept for u32 {
    fn pass(&mut self, tape: &mut Tape<'_>) {
        let mut count = u64::from(*self);
        // Half of the type, so that adding one to it fits.
        tape.count(&mut count, u64::from(Self::MAX / 2));
        *self = Self::try_from(count).unwrap_or_default();
    }
}

impl Kept for bool {
    fn pass(&mut self, tape: &mut Tape<'_>) {
        let mut count = u64::from(*self);
        tape.count(&mut count, 1);
        *self = count == 1;
    }
}

impl Kept for f64 {
    fn pass(&mut self, tape: &mut Tape<'_>) {
        tape.number(self, 0.0..=NUMBER_MAX);
    }
}

impl Kept for Timestamp {
    fn pass(&mut self, tape: &mut Tape<'_>) {
        let mut micros = self.as_micros();
        micros.pass(tape);
        if let Mode::Reading { ahead, .. } = tape.mode {
            micros = micros.saturating_sub(ahead);
        }
        *self = Self::from_micros(micros);
    }
}

impl Kept for Duration {
    fn pass(&mut self, tape: &mut Tape<'_>) {
        let mut nanos = u64::try_from(self.as_nanos()).unwrap_or(u64::MAX);
        nanos.pass(tape);
        *self = Self::from_nanos(nanos);
    }
}

impl Kept for Weight {
    fn pass(&mut self, tape: &mut Tape<'_>) {
        let mut parts = self.parts_per_million();
        parts.pass(tape);
        let read = Self::from_parts_per_million(parts);
        tape.demand(read.is_some());
        *self = read.unwrap_or_default();
    }
}

impl<T: Default + Kept> Kept for Option<T> {
    fn pass(&mut self, tape: &mut Tape<'_>) {
        let mut is_there = self.is_some();
        is_there.pass(tape);
        if !is_there {
            *self = None;
            return;
        }
        self.get_or_insert_with(T::default).pass(tape);
    }
}

impl<A: Kept, B: Kept> Kept for (A, B) {
    fn pass(&mut self, tape: &mut Tape<'_>) {
        self.0.pass(tape);
        self.1.pass(tape);
    }
}

impl<T: Kept, const N: usize> Kept for [T; N] {
    fn pass(&mut self, tape: &mut Tape<'_>) {
        for value in self {
            value.pass(tape);
        }
    }
}

/// As many as the configuration says.
impl<T: Kept> Kept for Vec<T> {
    fn pass(&mut self, tape: &mut Tape<'_>) {
        let len = tape.length(self.len(), self.len());
        tape.demand(len == self.len());
        for value in self {
            value.pass(tape);
        }
    }
}

impl<T: Kept> Kept for Box<T> {
    fn pass(&mut self, tape: &mut Tape<'_>) {
        (**self).pass(tape);
    }
}

kept!(Counts {
    failures,
    successes,
    ruled_failures,
    ruled_successes,
    after_suspicion,
    timed,
    rungs,
    slower,
});

impl Kept for Tally {
    fn pass(&mut self, tape: &mut Tape<'_>) {
        for role in crate::role::Role::ALL {
            self.of_mut(role).pass(tape);
        }
    }
}

kept!(Estimate {
    value,
    low,
    high,
    count,
    samples,
});

impl Kept for ErrorClass {
    fn pass(&mut self, tape: &mut Tape<'_>) {
        let mut code = self.code();
        tape.bits(&mut code);
        let read = Self::from_code(code);
        tape.demand(read.is_some());
        *self = read.unwrap_or(Self::OTHER);
    }
}

impl Kept for Option<Timestamp> {
    fn pass(&mut self, tape: &mut Tape<'_>) {
        let mut is_there = self.is_some();
        is_there.pass(tape);
        let mut time = self.unwrap_or(Timestamp::from_micros(0));
        if is_there {
            time.pass(tape);
        }
        *self = is_there.then_some(time);
    }
}

impl Kept for Option<RequestId> {
    fn pass(&mut self, tape: &mut Tape<'_>) {
        let text = self.as_ref().map_or("", RequestId::as_str);
        let mut bytes = text.as_bytes().to_vec();
        let len = tape.length(bytes.len(), RequestId::BYTES_MAX);
        bytes.resize(len, 0);
        for byte in &mut bytes {
            let mut one = [*byte];
            tape.bytes(&mut one);
            *byte = one[0];
        }
        *self = RequestId::from_bytes(&bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::FailureReason;

    fn again<T: Kept>(mut value: T, mut blank: T) -> T {
        let mut tape = Tape::blank();
        value.pass(&mut tape);
        let bytes = tape.into_bytes();
        let mut tape = Tape::of(&bytes);
        blank.pass(&mut tape);
        assert!(tape.is_read());
        for len in 0..bytes.len() {
            let mut tape = Tape::of(&bytes[..len]);
            blank.pass(&mut tape);
            assert!(tape.is_damaged(), "cut at {len} of {}", bytes.len());
        }
        let mut tape = Tape::of(&bytes);
        blank.pass(&mut tape);
        blank
    }

    #[test]
    fn what_is_written_is_read() {
        for count in [0, 1, 127, 128, 300, 1 << 40, COUNT_MAX] {
            assert_eq!(again(count, 7), count);
        }
        for number in [0.0, 1e-308, 0.1 + 0.2, 1e280, NUMBER_MAX] {
            assert_eq!(again(number, 7.0).to_bits(), number.to_bits());
        }
        assert_eq!(again(Some(5_u64), None), Some(5));
        assert_eq!(again(None, Some(5_u64)), None);
        let id = RequestId::from_bytes(b"abc-1");
        assert_eq!(again(id, None), id);
        assert_eq!(again(None, id), None);
        for class in [
            ErrorClass::OTHER,
            ErrorClass::of_status(0).with_reason(Some(FailureReason::Truncated)),
            ErrorClass::of_status(200).with_grpc(Some(u32::MAX)),
        ] {
            assert_eq!(again(class, ErrorClass::of_status(1)), class);
        }
    }

    #[test]
    fn what_nobody_writes_is_damaged() {
        let is_damaged = |value: &mut dyn Kept, bytes: &[u8]| {
            let mut tape = Tape::of(bytes);
            value.pass(&mut tape);
            tape.is_damaged()
        };
        for number in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
            assert!(is_damaged(&mut 1.0, &number.to_bits().to_le_bytes()));
        }
        assert!(is_damaged(&mut 0_u64, &[0xff; 20]));
        assert!(is_damaged(&mut false, &[2]));
        assert!(is_damaged(&mut Weight::default(), &[0xff, 0xff, 0xff, 1]));
        assert!(is_damaged(&mut vec![0_u64; 3], &[2, 1, 1]));
        assert!(is_damaged(&mut ErrorClass::of_status(1), &[0xff; 8]));
        assert!(is_damaged(&mut None::<RequestId>, &[41; 42]));
    }

    #[test]
    fn a_clock_that_was_ahead_is_put_right() {
        let at = Timestamp::from_micros;
        let mut tape = Tape::blank();
        at(5_000).pass(&mut tape);
        let bytes = tape.into_bytes();
        for (written, now, read) in [(4_000, 1_000, 2_000), (4_000, 9_000, 5_000)] {
            let mut tape = Tape::of(&bytes);
            tape.was_written(at(written), at(now));
            let mut time = at(0);
            time.pass(&mut tape);
            assert_eq!(time, at(read));
        }
    }
}
