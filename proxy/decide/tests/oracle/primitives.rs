//! Sums of bets after every step, and what there is beside bets.

use haldane_decide::gate::bet::{
    Block, BlockBet, ERROR_LANES, HardBet, Lane, ShareBet, TwoSample, TwoSampleBet,
};
use haldane_decide::gate::numbers::run_length;
use haldane_decide::gate::restart::RestartMass;
use serde::Deserialize;

use crate::agreement::{agree, assert_none, disagreement};

#[derive(Deserialize)]
struct Vectors {
    share_bets: Vec<ShareCase>,
    block_bets: Vec<BlockCase>,
    hard_bets: Vec<HardCase>,
    two_sample_bets: Vec<TwoSampleCase>,
    restart_masses: Vec<RestartCase>,
    /// Chance of a failure, requests, error, run.
    run_lengths: Vec<(f64, u64, f64, u32)>,
}

/// Ratio and prior of a lane; infinite if there is no ratio.
type LaneText = (Option<f64>, f64);

#[derive(Deserialize)]
struct ShareCase {
    name: String,
    lanes: Vec<LaneText>,
    /// What is done, with which number, how often, and the sum of the lanes then.
    steps: Vec<(ShareStep, f64, u32, f64)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ShareStep {
    Release,
    Share,
    Update,
}

#[derive(Deserialize)]
struct BlockCase {
    name: String,
    lanes: Vec<LaneText>,
    steps: Vec<BlockStep>,
}

/// Weight, mass, canary, stable, those of them that exceed, and the sum of the lanes then.
type BlockStep = (f64, f64, u64, u64, u64, u64, f64);

#[derive(Deserialize)]
struct HardCase {
    difference: f64,
    /// Mass, canary, stable, those of them that fail, and the sum of the lanes then.
    steps: Vec<(f64, u64, u64, u64, u64, f64)>,
}

#[derive(Deserialize)]
struct TwoSampleCase {
    lanes: Vec<(f64, f64)>,
    margin: f64,
    share: f64,
    /// Share, failures and successes of the canary and of stable, and the sum of the lanes then.
    steps: Vec<(f64, u64, u64, u64, u64, f64)>,
}

#[derive(Deserialize)]
struct RestartCase {
    steps: u32,
    horizon_ticks: u64,
    /// What is done, how often, the mass of that, and all mass then.
    ops: Vec<(RestartOp, u32, f64, f64)>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RestartOp {
    Start,
    Step,
    Tick,
    Ticks,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("vectors.json")).unwrap()
}

fn lanes(text: &[LaneText]) -> Vec<Lane> {
    let lane = |&(ratio, prior): &LaneText| Lane {
        ratio: ratio.unwrap_or(f64::INFINITY),
        prior,
    };
    text.iter().map(lane).collect()
}

#[test]
fn bets_on_single_events_agree() {
    let cases = vectors().share_bets;
    assert_eq!(lanes(&cases[0].lanes), ERROR_LANES);
    let mut found = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let mut bet = ShareBet::new(&lanes(&case.lanes));
        for (index, (step, value, times, sum)) in case.steps.iter().enumerate() {
            for _ in 0..*times {
                match step {
                    ShareStep::Release => bet.release(*value),
                    ShareStep::Share => bet.set_share(*value),
                    ShareStep::Update => bet.update(*value),
                }
            }
            let what = format!("{} {number}, step {index}", case.name);
            found.extend(disagreement(&what, bet.evidence(), *sum));
        }
    }
    assert_none(&found);
}

/// An event of a unit that was split under another share counts as it does when all are
/// split so.
#[test]
fn bets_on_single_events_agree_if_each_tells_its_share() {
    let mut found = Vec::new();
    for (number, case) in vectors().share_bets.iter().enumerate() {
        let mut bet = ShareBet::new(&lanes(&case.lanes));
        bet.set_share(0.5);
        let mut share = 0.0;
        for (index, (step, value, times, sum)) in case.steps.iter().enumerate() {
            for _ in 0..*times {
                match step {
                    ShareStep::Release => bet.release(*value),
                    ShareStep::Share => share = *value,
                    ShareStep::Update => bet.update_at(share, *value),
                }
            }
            let what = format!("{} {number}, step {index}", case.name);
            found.extend(disagreement(&what, bet.evidence(), *sum));
        }
    }
    assert_none(&found);
}

#[test]
fn bets_on_blocks_agree() {
    let mut found = Vec::new();
    for (number, case) in vectors().block_bets.iter().enumerate() {
        let mut bet = BlockBet::new(&lanes(&case.lanes));
        for (index, &(share, mass, canary, stable, slow_canary, slow_stable, sum)) in
            case.steps.iter().enumerate()
        {
            bet.set_share(share);
            let block = Block {
                canary,
                stable,
                canary_exceeding: slow_canary,
                stable_exceeding: slow_stable,
            };
            let closed = bet.close(mass, block);
            let what = format!("{} {number}, block {index}", case.name);
            found.extend(disagreement(&what, closed, sum));
            found.extend(disagreement(&what, bet.evidence(), sum));
        }
    }
    assert_none(&found);
}

#[test]
fn bets_on_the_hard_limit_agree() {
    let mut found = Vec::new();
    for (number, case) in vectors().hard_bets.iter().enumerate() {
        let mut bet = HardBet::new(case.difference);
        for (index, &(mass, canary, stable, canary_exceeding, stable_exceeding, sum)) in
            case.steps.iter().enumerate()
        {
            bet.release(mass);
            bet.close(Block {
                canary,
                stable,
                canary_exceeding,
                stable_exceeding,
            });
            let what = format!("{number}, block {index}");
            found.extend(disagreement(&what, bet.evidence(), sum));
        }
    }
    assert_none(&found);
}

/// The reference takes them one by one and in any order.
#[test]
fn bets_on_both_failures_and_successes_agree() {
    let mut found = Vec::new();
    for (number, case) in vectors().two_sample_bets.iter().enumerate() {
        let mut bet = TwoSampleBet::new(&case.lanes, case.margin, case.share);
        for (index, &(share, canary_failures, canary_successes, stable_failures, successes, sum)) in
            case.steps.iter().enumerate()
        {
            bet.set_share(share);
            bet.update(TwoSample {
                canary_failures,
                canary_successes,
                stable_failures,
                stable_successes: successes,
            });
            let what = format!("{number}, counts {index}");
            found.extend(disagreement(&what, bet.evidence(), sum));
        }
    }
    assert_none(&found);
}

#[test]
fn the_mass_of_restarts_agrees() {
    let mut found = Vec::new();
    for case in vectors().restart_masses {
        let mut mass = RestartMass::new(case.steps, case.horizon_ticks);
        for (index, (op, times, of_op, of_all)) in case.ops.into_iter().enumerate() {
            let masses = (0..times).map(|_| match op {
                RestartOp::Start => mass.on_start(),
                RestartOp::Step => mass.on_step(),
                RestartOp::Tick | RestartOp::Ticks => mass.on_tick(),
            });
            let what = format!("{} steps, operation {index}", case.steps);
            found.extend(disagreement(&what, masses.sum(), of_op));
            found.extend(disagreement(&what, mass.released(), of_all));
            assert!(mass.released() <= 1.0);
        }
    }
    assert_none(&found);
}

#[test]
fn runs_are_as_long() {
    for (p, requests, error, run) in vectors().run_lengths {
        assert_eq!(
            run_length(p, requests, error),
            run,
            "{p} {requests} {error}"
        );
    }
}

/// What would be there if the data were not.
#[test]
fn there_is_enough_to_agree_on() {
    let vectors = vectors();
    let sums: Vec<f64> = (vectors.share_bets.iter())
        .flat_map(|case| case.steps.iter().map(|step| step.3))
        .collect();
    assert!(sums.len() > 1000);
    // Evidence that grows, that vanishes, and none that agrees with everything.
    assert!(sums.iter().any(|sum| *sum > 1e6) && sums.iter().any(|sum| *sum < 1e-6));
    assert!(sums.windows(2).any(|pair| !agree(pair[0], pair[1])));
    let blocks = |test: fn(&BlockStep) -> bool| {
        vectors
            .block_bets
            .iter()
            .any(|case| case.steps.iter().any(test))
    };
    assert!(blocks(|step| step.2 == 0) && blocks(|step| step.3 == 0));
    assert!(blocks(|step| step.2 > 0
        && step.3 > 0
        && step.4 + step.5 == 0));
    assert!(blocks(|step| step.4 + step.5 > 100_000));
}
