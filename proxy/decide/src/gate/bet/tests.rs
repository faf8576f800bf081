//! What makes a bet fair, and keeps it finite.

use proptest::prelude::*;

use super::*;

fn full(lanes: &[Lane], share: f64) -> ShareBet {
    let mut bet = ShareBet::new(lanes);
    bet.set_share(share);
    bet.release(1.0);
    bet
}

#[test]
fn the_priors_of_lanes_are_a_whole() {
    let all: [&[Lane]; 5] = [
        &ERROR_LANES,
        &MEDIAN_LANES,
        &UPPER_LANES,
        &TAIL_LANES,
        &FAR_TAIL_LANES,
    ];
    for lanes in all {
        let sum: f64 = lanes.iter().map(|lane| lane.prior).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{lanes:?}");
    }
}

proptest! {
    /// The edge of the hypothesis: an event is the canary's with its share.
    #[test]
    fn an_event_wins_nothing_on_average(share in 0.000_001..0.999_999_f64) {
        let (mut hit, mut miss) = (full(&ERROR_LANES, share), full(&ERROR_LANES, share));
        hit.update(1.0);
        miss.update(0.0);
        let mean = share * hit.evidence() + (1.0 - share) * miss.evidence();
        prop_assert!((mean - 1.0).abs() < 1e-6, "{share}: {mean}");
    }

    /// A block whose exceeding ones are drawn without looking at their version, that is
    /// hypergeometrically: its mean is the sum over all that can be drawn.
    #[test]
    fn a_block_wins_nothing_on_average(
        canary in 1..12_u64,
        stable in 1..40_u64,
        events in 1..40_u64,
        share in 0.01..0.9_f64,
    ) {
        let events = events.min(canary + stable);
        let choose = |n: u64, k: u64| -> f64 {
            (0..k).map(|index| (n - index) as f64 / (k - index) as f64).product()
        };
        let mut mean = 0.0;
        for hits in events.saturating_sub(stable)..=events.min(canary) {
            let mut bet = BlockBet::new(&TAIL_LANES);
            bet.set_share(share);
            let block = Block {
                canary,
                stable,
                canary_exceeding: hits,
                stable_exceeding: events - hits,
            };
            let chance = choose(canary, hits) * choose(stable, events - hits)
                / choose(canary + stable, events);
            mean += chance * bet.close(1.0, block);
        }
        prop_assert!((mean - 1.0).abs() < 1e-6, "{mean}");
    }

    /// At the margin: a canary that fails exactly `d (1 - p)` more often.
    #[test]
    fn two_samples_win_nothing_on_average_at_the_margin(
        rate in 0.001..0.5_f64,
        margin in 0.0001..0.2_f64,
        share in 0.01..0.9_f64,
        (a, b) in (0.001..0.9_f64, 0.001..0.9_f64),
    ) {
        let canary_rate = rate + margin * (1.0 - rate);
        let mut mean = 0.0;
        for (chance, counts) in [
            (share * canary_rate, TwoSample { canary_failures: 1, ..TwoSample::default() }),
            (share * (1.0 - canary_rate), TwoSample { canary_successes: 1, ..TwoSample::default() }),
            ((1.0 - share) * rate, TwoSample { stable_failures: 1, ..TwoSample::default() }),
            ((1.0 - share) * (1.0 - rate), TwoSample { stable_successes: 1, ..TwoSample::default() }),
        ] {
            let mut bet = TwoSampleBet::new(&[(a, b)], margin, share);
            bet.update(counts);
            mean += chance * bet.evidence();
        }
        prop_assert!((mean - 1.0).abs() < 1e-6, "{mean}");
    }

    /// Whatever is counted, up to more than anybody will ever count.
    #[test]
    fn evidence_is_a_number(
        blocks in prop::collection::vec((0..10_000_000_000_u64, 0..10_000_000_000_u64, 0.0..1.0_f64, 0.0..1.0_f64), 1..60),
        share in 0.0..=1.0_f64,
    ) {
        let (mut event, mut block_bet) = (ShareBet::new(&ERROR_LANES), BlockBet::new(&MEDIAN_LANES));
        let (mut hard, mut ceiling) = (HardBet::new(0.05), CeilingBet::new(0.0));
        let mut both = TwoSampleBet::new(&[(0.001, 0.002)], 0.001, share);
        event.set_share(share);
        block_bet.set_share(share);
        for (canary, stable, part, other) in blocks {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a count")]
            let of = |count: u64, part: f64| (count as f64 * part) as u64;
            let block = Block {
                canary,
                stable,
                canary_exceeding: of(canary, part),
                stable_exceeding: of(stable, other),
            };
            event.release(0.01);
            event.update(if part > 0.5 { 1.0 } else { 0.0 });
            block_bet.close(0.01, block);
            hard.release(0.01);
            hard.close(block);
            ceiling.release(0.01);
            ceiling.close(block.canary_exceeding, block.canary, 1e6);
            both.update(TwoSample {
                canary_failures: block.canary_exceeding,
                canary_successes: canary - block.canary_exceeding,
                stable_failures: block.stable_exceeding,
                stable_successes: stable - block.stable_exceeding,
            });
            for evidence in [
                event.evidence(),
                block_bet.evidence(),
                hard.evidence(),
                ceiling.evidence(),
                both.evidence(),
            ] {
                prop_assert!(evidence.is_finite() && evidence >= 0.0, "{evidence}");
            }
        }
    }
}

#[test]
fn with_one_version_there_is_nothing_to_bet_on() {
    for share in [0.0, 1.0] {
        let mut bet = full(&ERROR_LANES, share);
        bet.update(1.0);
        assert!(bet.evidence().abs() < 1e-12);
    }
    let mut hard = HardBet::new(0.05);
    hard.release(1.0);
    hard.close(Block {
        canary: 10,
        canary_exceeding: 10,
        ..Block::default()
    });
    assert!(hard.evidence().abs() < 1e-12);
}

#[test]
fn the_order_of_successes_changes_nothing() {
    let mut at_once = TwoSampleBet::new(&[(0.01, 0.02), (0.03, 0.04)], 0.01, 0.05);
    let mut one_by_one = at_once.clone();
    at_once.update(TwoSample {
        canary_failures: 3,
        canary_successes: 50,
        stable_failures: 20,
        stable_successes: 900,
    });
    for _ in 0..900 {
        one_by_one.update(TwoSample {
            stable_successes: 1,
            ..TwoSample::default()
        });
    }
    for _ in 0..50 {
        one_by_one.update(TwoSample {
            canary_successes: 1,
            ..TwoSample::default()
        });
    }
    one_by_one.update(TwoSample {
        canary_failures: 3,
        stable_failures: 20,
        ..TwoSample::default()
    });
    assert!((at_once.evidence() / one_by_one.evidence() - 1.0).abs() < 1e-9);
}
