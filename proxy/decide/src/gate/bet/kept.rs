//! What of a bet outlives the process: its capital.

use super::{
    BlockBet, Capital, CeilingBet, HardBet, LOG_LOST, LOG_MAX, ShareBet, TwoSampleBet,
    TwoSampleLane,
};
use crate::gate::tape::{Kept, Tape, kept};

impl Kept for Capital {
    fn pass(&mut self, tape: &mut Tape<'_>) {
        self.0.pass(tape);
    }
}

// The stakes follow from the share, which whoever has the bet sets again.
kept!(ShareBet { capitals, pending } without { lanes, share, stakes });

kept!(BlockBet { capitals } without { lanes, stakes });

kept!(HardBet { capitals, pending } without { difference });

// A rate that moves is set again before each block.
kept!(CeilingBet { capitals, pending } without { rate_max });

// Share and rates are set again before each update.
impl Kept for TwoSampleBet {
    fn pass(&mut self, tape: &mut Tape<'_>) {
        let Self {
            margin,
            share: _,
            lanes,
        } = self;
        tape.number(margin, 0.0..=1.0);
        for lane in lanes {
            let TwoSampleLane {
                canary: _,
                stable: _,
                log_capital,
            } = lane;
            tape.number(log_capital, LOG_LOST..=LOG_MAX);
        }
    }
}
