//! The split: a contract by value, monotone, and fair.

use proptest::prelude::*;

use super::*;

const BITS: u128 = 0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f;

/// Computed with an implementation of SipHash-1-3 in another language, which was
/// itself checked against the vectors of the SipHash paper.
#[test]
fn salts_are_the_ones_that_every_other_process_computes() {
    for (text, bits) in [
        ("", 0xb91c_5ed0_31fb_3303_2134_935d_61d9_b40d),
        ("checkout", 0x9607_2394_2e86_a306_f6a6_767a_462e_0eb2),
        ("shop-2026", 0xc1a2_7da8_59e2_b87a_f585_5585_e934_de03),
    ] {
        assert_eq!(Salt::from_text(text), Salt::from_bits(bits), "{text}");
    }
    for (salt, generation, bits) in [
        (
            Salt::from_bits(BITS),
            1,
            0xf423_8e97_8c9f_a08b_c2d9_a66e_f8be_0c80,
        ),
        (
            Salt::from_bits(BITS),
            2,
            0x4c73_3b1b_d08b_0f6c_8e9b_ff97_e9c5_7e33,
        ),
        (
            Salt::from_text("checkout"),
            1,
            0x2d34_9190_c861_0f8c_3f73_d2aa_c3d2_999f,
        ),
    ] {
        assert_eq!(salt.for_generation(generation), Salt::from_bits(bits));
    }
}

/// From the same computation.
#[test]
fn keys_lie_where_every_other_process_puts_them() {
    let (bits, text) = (Salt::from_bits(BITS), Salt::from_text("checkout"));
    for (salt, raw, key, position) in [
        (bits, "", 0xce9d_dee4_0c4c_20d4, 807_096),
        (bits, "user-1", 0x85bb_c8fb_0b44_47a3, 522_396),
        (bits, "alice@example.com", 0x52ec_7e58_7e28_adc1, 323_921),
        (bits, "203.0.113.7", 0xbf11_8661_f7d3_2cdb, 746_361),
        (text, "user-1", 0x8544_1366_dd6d_f700, 520_570),
        (text, "203.0.113.7", 0x4687_1d8a_8ed1_6f54, 275_499),
        (Salt::from_bits(0), "user-1", 0x06db_9d14_f8ce_93a0, 26_788),
    ] {
        let found = salt.split_key(raw.as_bytes());
        assert_eq!(found, SplitKey::from_random(key), "{raw}");
        assert_eq!(found.position(), position, "{raw}");
    }
}

#[test]
fn positions_reach_from_the_first_to_the_last_part() {
    assert_eq!(SplitKey::from_random(0).position(), 0);
    assert_eq!(SplitKey::from_random(u64::MAX).position(), 999_999);
    assert_eq!(
        SplitKey::from_random(u64::MAX).first_canary_weight(),
        Weight::FULL
    );
}

proptest! {
    #[test]
    fn raising_the_weight_moves_no_key_back(key: u64, a in 0..=1_000_000_u32, b in 0..=1_000_000_u32) {
        let key = SplitKey::from_random(key);
        let role = |parts: u32| key.role(Weight::from_parts_per_million(parts).unwrap());
        if role(a.min(b)) == Role::Canary {
            prop_assert_eq!(role(a.max(b)), Role::Canary);
        }
    }

    #[test]
    fn zero_is_nobody_and_full_is_everybody(key: u64) {
        let key = SplitKey::from_random(key);
        prop_assert_eq!(key.role(Weight::ZERO), Role::Stable);
        prop_assert_eq!(key.role(Weight::FULL), Role::Canary);
    }

    #[test]
    fn the_first_canary_weight_is_the_smallest(key: u64) {
        let key = SplitKey::from_random(key);
        let first = key.first_canary_weight();
        let below = Weight::from_parts_per_million(first.parts_per_million() - 1).unwrap();
        prop_assert_eq!(key.role(first), Role::Canary);
        prop_assert_eq!(key.role(below), Role::Stable);
    }
}

const KEYS: u32 = 100_000;
const WEIGHTS: [&str; 5] = ["0.1%", "1%", "5%", "10%", "50%"];
const KINDS: [fn(u32) -> String; 4] = [sequential, uuid, email, ipv4];

fn sequential(n: u32) -> String {
    n.to_string()
}

fn uuid(n: u32) -> String {
    // The counter spread by odd multipliers: distinct, and the same in every run.
    let high = u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let low = high.wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ u64::from(n);
    let (a, b, c) = (high >> 32, (high >> 16) & 0xffff, high & 0xfff);
    let (d, e) = (0x8000 | ((low >> 48) & 0x3fff), low & 0xffff_ffff_ffff);
    format!("{a:08x}-{b:04x}-4{c:03x}-{d:04x}-{e:012x}")
}

fn email(n: u32) -> String {
    format!("user{n}@example.com")
}

fn ipv4(n: u32) -> String {
    std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string()
}

fn on_canary(salt: Salt, weight: Weight, kind: fn(u32) -> String) -> f64 {
    let role = |n: u32| salt.split_key(kind(n).as_bytes()).role(weight);
    let count = (0..KEYS).filter(|n| role(*n) == Role::Canary).count();
    f64::from(u32::try_from(count).unwrap())
}

/// Chi-square with one degree of freedom: the two cells are canary and stable.
///
/// 4 kinds, 5 weights and 3 salts are 60 tests. For a fair hash all of them pass
/// with probability 99.9 % if each is made at the level 0.001 / 60 = 1.67e-5, where
/// the square of the normal quantile (4.306) is 18.54.
#[test]
fn keys_of_every_kind_are_split_fairly() {
    for text in ["checkout", "search", "2026-11"] {
        let salt = Salt::from_text(text).for_generation(1);
        for kind in KINDS {
            for weight in WEIGHTS {
                let weight: Weight = weight.parse().unwrap();
                let expected = f64::from(KEYS) * weight.as_ratio();
                let stable = f64::from(KEYS) - expected;
                let off = on_canary(salt, weight, kind) - expected;
                let chi_square = off * off / expected + off * off / stable;
                let example = kind(7);
                assert!(
                    chi_square < 18.54,
                    "{text}, {example}, {weight}: {chi_square}"
                );
            }
        }
    }
}

/// The share of 100 000 keys under one salt has a standard deviation of 0.16 points
/// at 50 %, so for one salt in five it is off by more than 0.2. The mean of 16 salts
/// has a quarter of that, 0.04 points, and 0.2 points are five of them.
#[test]
fn the_mean_share_of_100_000_keys_is_the_weight_within_a_fifth_of_a_point() {
    const SALTS: u32 = 16;
    for kind in KINDS {
        let mut positions = Vec::new();
        for n in 0..KEYS {
            let raw = kind(n);
            let salts = (1..=SALTS).map(|n| Salt::from_text("checkout").for_generation(n));
            positions.extend(salts.map(|salt| salt.split_key(raw.as_bytes()).position()));
        }
        for weight in WEIGHTS {
            let weight: Weight = weight.parse().unwrap();
            let is_canary = |position: &&u32| **position < weight.parts_per_million();
            let count = u32::try_from(positions.iter().filter(is_canary).count()).unwrap();
            let share = f64::from(count) / f64::from(KEYS * SALTS);
            assert!(
                (share - weight.as_ratio()).abs() < 0.002,
                "{}: {share}",
                kind(7)
            );
        }
    }
}

#[test]
fn along_a_ramp_keys_change_sides_only_in_its_direction() {
    let salt = Salt::from_text("ramp").for_generation(1);
    let ramp = ["0%", "1%", "5%", "25%", "50%", "100%", "0%"].map(|text| text.parse().unwrap());
    for n in 0..KEYS {
        let key = salt.split_key(email(n).as_bytes());
        for [before, after] in ramp.array_windows() {
            let (was, is) = (key.role(*before), key.role(*after));
            let toward = if after > before {
                Role::Canary
            } else {
                Role::Stable
            };
            assert!(
                was == is || is == toward,
                "{before} to {after}: {was} to {is}"
            );
        }
    }
}

/// Of those on the canary in one generation, as many are on it in the next as of
/// everybody: 5 %. With about 5 000 of them one standard deviation is 15, and
/// five of them are allowed.
#[test]
fn a_new_generation_exposes_other_keys() {
    let salt = Salt::from_text("checkout");
    let weight: Weight = "5%".parse().unwrap();
    let is_exposed = |generation: u32, n: u32| {
        let key = salt
            .for_generation(generation)
            .split_key(email(n).as_bytes());
        key.role(weight) == Role::Canary
    };
    let before: Vec<u32> = (0..KEYS).filter(|n| is_exposed(1, *n)).collect();
    let again = before.iter().filter(|n| is_exposed(2, **n)).count();
    assert!((4_650..5_350).contains(&before.len()), "{}", before.len());
    assert!((172..328).contains(&again), "{again}");
}
