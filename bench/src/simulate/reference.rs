//! The figures of `gates.md`, to stand beside what is measured.

use super::{
    latency::Family,
    polled::Query,
    service::{Course, Scenario},
};

/// Rolled back by haldane at a promise of 0.1 %: T1 ("haldane A (product)"), T4 and T8.
pub(crate) fn blamed(scenario: &Scenario) -> Option<&'static str> {
    match (scenario.course, scenario.rate, scenario.family) {
        (Course::Independent, 1000.0, Family::LogNormal)
        | (Course::BurstyKeys | Course::Drifting | Course::Ramping, _, _) => Some("0"),
        (Course::Independent, 100.0, _) => Some("0.02%"),
        (Course::Independent, 10.0, Family::LogNormal) => Some("0.03%"),
        _ => None,
    }
}

/// Rolled back by polling, in the order of Argo 0 and 1, Flagger, Kayenta 5 and 30: T1 and T6.
pub(crate) fn polled_blamed(scenario: &Scenario, query: Query) -> [Option<&'static str>; 5] {
    let known = match (scenario.course, scenario.rate, query, scenario.family) {
        (Course::Independent, 1000.0, Query::Errors, Family::LogNormal) => {
            ["0", "0", "0", "0.40%", "0.05%"]
        }
        (Course::Independent, 100.0, Query::Errors, Family::LogNormal) => {
            ["44.4%", "10.4%", "0", "5.2%", "2.7%"]
        }
        (Course::Independent, 10.0, Query::Errors, Family::LogNormal) => {
            ["100.0%", "100.0%", "96.5%", "2.9%", "2.1%"]
        }
        (Course::Independent, 100.0, Query::Errors, Family::Bimodal) => {
            ["100.0%", "100.0%", "100.0%", "0.35%", "0"]
        }
        (Course::Independent, 1000.0, Query::Latency, Family::LogNormal) => {
            ["0", "0", "0", "0.50%", "0.50%"]
        }
        (Course::Independent, 100.0, Query::Latency, Family::LogNormal) => {
            ["19.5%", "1.1%", "0", "1.3%", "0.30%"]
        }
        (Course::Independent, 10.0, Query::Latency, Family::LogNormal) => {
            ["99.6%", "97.5%", "76.3%", "1.1%", "0.20%"]
        }
        (Course::Independent, 100.0, Query::Latency, Family::Bimodal) => {
            ["0.50%", "0", "0", "1.1%", "0.30%"]
        }
        _ => return [None; 5],
    };
    known.map(Some)
}

/// The bounds of T2: concurrent and frozen stable.
pub(crate) const BOUNDS: [&str; 4] = [
    "562.1 / 491.08",
    "62.06 / 46.73",
    "4.42 / 2.5",
    "1.74 / 0.5",
];

/// Delays of a method, haldane first, then Argo 0 and 1, Flagger, Kayenta 5 and 30: T2 and T3.
pub(crate) fn delays(method: usize, rate: f64, from_start: bool) -> [&'static str; 4] {
    match (from_start, method, rate) {
        (true, 0, _) => [
            "848 / 8.5 / 1.51",
            "99 / 4.9 / 1.6",
            "8.4 / 4.2 / 1.89",
            "4.0 / 4.0 / 2.3",
        ],
        (true, _, 1000.0) => DELAYS_AT_1000[method - 1],
        (true, _, 100.0) => DELAYS_AT_100[method - 1],
        (true, _, 10.0) => DELAYS_AT_10[method - 1],
        (false, 0, _) => ["1433 / 14.3", "162 / 8.0", "12.5 / 6.2", "4.0 / 4.0"],
        _ => ["-"; 4],
    }
}

const DELAYS_AT_1000: [[&str; 4]; 5] = [
    [
        "6054 / 60.7 / 10.8",
        "3000 / 150.0 / 48.3",
        "3000 / 1500.2 / 678.7",
        "3000 / 2999.1 / 1724.1",
    ],
    [
        "12315 / 123.3 / 21.9",
        "6000 / 300.1 / 96.7",
        "6000 / 2999.2 / 1357.5",
        "6000 / 5998.7 / 3448.3",
    ],
    [
        "33958 / 339.2 / 60.4",
        "18000 / 899.1 / 290.0",
        "18000 / 8999.3 / 4072.4",
        "18000 / 17997.5 / 10344.8",
    ],
    [
        "15015 / 150.3 / 26.7",
        "15000 / 749.2 / 241.7",
        "15000 / 7498.3 / 3393.7",
        "15000 / 14998.2 / 8620.7",
    ],
    [
        "90000 / 899.3 / 160.1",
        "90000 / 4497.9 / 1450.2",
        "90000 / 44998.8 / 20362.0",
        "90000 / 89992.4 / 51724.1",
    ],
];

const DELAYS_AT_100: [[&str; 4]; 5] = [
    [
        "652 / 6.5 / 1.2",
        "300 / 14.9 / 4.8",
        "300 / 150.0 / 67.9",
        "300 / 299.7 / 172.4",
    ],
    [
        "1286 / 12.9 / 2.3",
        "600 / 29.9 / 9.7",
        "600 / 299.8 / 135.7",
        "600 / 599.7 / 344.8",
    ],
    [
        "3531 / 35.3 / 6.3",
        "1800 / 90.1 / 29.0",
        "1800 / 899.5 / 407.2",
        "1800 / 1800.0 / 1034.5",
    ],
    [
        "2478 / 24.9 / 4.4",
        "1508 / 75.4 / 24.3",
        "1500 / 749.6 / 339.4",
        "1500 / 1500.1 / 862.1",
    ],
    [
        "9000 / 90.0 / 16.0",
        "9000 / 449.8 / 145.0",
        "9000 / 4498.0 / 2036.2",
        "9000 / 8997.9 / 5172.4",
    ],
];

const DELAYS_AT_10: [[&str; 4]; 5] = [
    [
        "115 / 1.2 / 0.2",
        "39 / 1.9 / 0.6",
        "30 / 14.9 / 6.8",
        "30 / 30.0 / 17.2",
    ],
    [
        "232 / 2.3 / 0.4",
        "77 / 3.8 / 1.2",
        "60 / 30.0 / 13.6",
        "60 / 59.9 / 34.5",
    ],
    [
        "606 / 6.1 / 1.1",
        "224 / 11.2 / 3.6",
        "180 / 89.7 / 40.7",
        "180 / 179.8 / 103.4",
    ],
    [
        "1120 / 11.3 / 2.0",
        "423 / 21.1 / 6.8",
        "150 / 74.8 / 34.0",
        "150 / 149.8 / 86.2",
    ],
    [
        "1694 / 17.1 / 3.0",
        "985 / 49.3 / 15.9",
        "900 / 449.7 / 203.6",
        "900 / 899.0 / 517.2",
    ],
];

/// Canary requests and failed ones by weight in percent, failures only ("A"): T5.
pub(crate) const BY_WEIGHT: [(u32, [&str; 4]); 6] = [
    (1, ["787 (7.8)", "81 (4.1)", "6.0 (3.0)", "3.0 (3.0)"]),
    (5, ["825 (8.4)", "96 (5.0)", "8.1 (4.1)", "4.1 (4.1)"]),
    (25, ["1229 (12.4)", "156 (7.9)", "14.0 (7.1)", "7.0 (7.0)"]),
    (
        50,
        ["2209 (22.1)", "307 (15.4)", "28 (14.1)", "14.1 (14.1)"],
    ),
    (
        75,
        ["4898 (49.1)", "694 (34.8)", "65 (32.3)", "32.1 (32.1)"],
    ),
    (
        90,
        ["12594 (125.6)", "1851 (92.9)", "173 (86.5)", "86 (86.2)"],
    ),
];

/// Bounds, then haldane at 1000, 100 and 10 requests per second, then Argo 1, Flagger and
/// Kayenta at 1000: T7.
pub(crate) const SLOW: [[&str; 7]; 9] = [
    [
        "825.0 / 281.3",
        "4484 (90 s) [5.44]",
        "1990 (398 s) [2.41]",
        "2901 (5802 s) [3.52]",
        "never",
        "never",
        "21300",
    ],
    [
        "40.5 / 19.8",
        "451 (9 s) [11.13]",
        "110 (22 s) [2.71]",
        "92 (183 s) [2.28]",
        "12122",
        "33902",
        "15000",
    ],
    [
        "570.2 / 111.0",
        "1107 (22 s) [1.94]",
        "982 (196 s) [1.72]",
        "1152 (2306 s) [2.02]",
        "12122",
        "33902",
        "15000",
    ],
    [
        "241.5 / 93.9",
        "520 (10 s) [2.15]",
        "402 (80 s) [1.67]",
        "442 (884 s) [1.83]",
        "5995",
        "17989",
        "15000",
    ],
    [
        "217.1 / 69.5",
        "2311 (46 s) [10.64]",
        "542 (108 s) [2.50]",
        "741 (1481 s) [3.41]",
        "never",
        "never",
        "25575",
    ],
    [
        "12.1 / 5.4",
        "345 (7 s) [28.52]",
        "46 (9 s) [3.77]",
        "27 (53 s) [2.20]",
        "12122",
        "33902",
        "15000",
    ],
    [
        "525.7 / 110.3",
        "1092 (22 s) [2.08]",
        "976 (195 s) [1.86]",
        "1154 (2304 s) [2.20]",
        "12122",
        "33902",
        "15000",
    ],
    [
        "197.1 / 92.7",
        "464 (9 s) [2.36]",
        "352 (70 s) [1.78]",
        "385 (770 s) [1.95]",
        "5995",
        "17989",
        "15000",
    ],
    [
        "459.2 / 458.2",
        "1073 (22 s) [2.34]",
        "927 (185 s) [2.02]",
        "1152 (2302 s) [2.51]",
        "never",
        "never",
        "15600",
    ],
];
