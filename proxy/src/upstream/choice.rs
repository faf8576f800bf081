//! Which address of a version gets a request.

use std::rc::Rc;

use super::Address;
use crate::clock::Micros;
use crate::live::health::{FULL_SHARE, Standing};

/// The less used of two random healthy addresses (the power of two choices), none of
/// them in `tried`. An address whose ejection is over gets one request instead, by which
/// it is let in or not; after its return it is drawn less often for a while. Without a
/// healthy one: a suspected one, or one that cannot be reached, if it is time to see
/// whether that still holds. `None` is to be answered at once.
pub(super) fn choose(
    addresses: &[Rc<Address>],
    now: Micros,
    tried: &[Rc<Address>],
) -> Option<Rc<Address>> {
    if tried.is_empty() {
        if let Some(usual) = choose_usual(addresses, now) {
            return Some(usual);
        }
        let due = |address: &&Rc<Address>| {
            address.standing() != Standing::Failing && address.endpoint.health.begin_trial(now)
        };
        if let Some(due) = addresses.iter().find(due) {
            return Some(Rc::clone(due));
        }
    }
    let is_new = |address: &Rc<Address>| !tried.iter().any(|one| Rc::ptr_eq(one, address));
    let of = |standing| {
        let may = |address: &&Rc<Address>| address.standing() == standing && is_new(address);
        less_used(addresses, now, may)
    };
    of(Standing::Healthy)
        .or_else(|| of(Standing::Suspected))
        .or_else(|| {
            let may_be_back = |address: &&Rc<Address>| {
                address.standing() == Standing::Unreachable
                    && is_new(address)
                    && address.endpoint.health.begin_early_trial(now)
            };
            addresses.iter().find(may_be_back).cloned()
        })
}

/// The choice where everything it falls on is healthy, which is nearly always; `None` also
/// where it falls on one that has not all of its share yet, and is not taken.
fn choose_usual(addresses: &[Rc<Address>], now: Micros) -> Option<Rc<Address>> {
    let count = addresses.len();
    let (one, other) = match count {
        0 => return None,
        1 => (0, 0),
        _ => {
            let one = fastrand::usize(..count);
            (one, (one + fastrand::usize(1..count)) % count)
        }
    };
    let (one, other) = (&addresses[one], &addresses[other]);
    let both = [one, other];
    let is_usual = both
        .iter()
        .all(|address| address.standing() == Standing::Healthy);
    (is_usual && takes_part(one, now)).then(|| less_used_of(one, other, now))
}

/// Of those that `may` get it. Each is the first of the two as often as its share says:
/// it is drawn like any other and then taken with that probability; if it is not, all are
/// drawn from by their shares, so that what it leaves goes to those that have more.
fn less_used(
    addresses: &[Rc<Address>],
    now: Micros,
    may: impl Fn(&&Rc<Address>) -> bool,
) -> Option<Rc<Address>> {
    let count = addresses.iter().filter(&may).count();
    if count == 0 {
        return None;
    }
    let one = fastrand::usize(..count);
    let other = (one + fastrand::usize(..count.max(2) - 1) + 1) % count;
    // Another thread may have ejected one of them since they were counted.
    let at = |index| addresses.iter().filter(&may).nth(index);
    let (one, other) = match (at(one), at(other)) {
        (Some(one), Some(other)) => (one, other),
        (one, other) => return one.or(other).cloned(),
    };
    if takes_part(one, now) {
        return Some(less_used_of(one, other, now));
    }
    let one = drawn_by_share(addresses, now, &may).unwrap_or(one);
    let is_other = |address: &&Rc<Address>| may(address) && !Rc::ptr_eq(address, one);
    let other = drawn_by_share(addresses, now, is_other).unwrap_or(one);
    Some(less_used_of(one, other, now))
}

/// Whether an address that was drawn is taken: as often as its share says.
fn takes_part(address: &Address, now: Micros) -> bool {
    let share = address.share(now);
    share == FULL_SHARE || fastrand::u64(..FULL_SHARE) < share
}

/// `None` if there is none, also because another thread has ejected them meanwhile.
fn drawn_by_share(
    addresses: &[Rc<Address>],
    now: Micros,
    may: impl Fn(&&Rc<Address>) -> bool,
) -> Option<&Rc<Address>> {
    let shares = || addresses.iter().filter(&may).map(|one| one.share(now));
    let mut left = fastrand::u64(..shares().sum::<u64>().max(1));
    addresses.iter().filter(&may).find(|address| {
        let share = address.share(now);
        let is_it = left < share;
        left = left.saturating_sub(share);
        is_it
    })
}

/// The first one, unless it is busier. One with a smaller share than the first is never
/// taken in its place: few requests are all that it is used by, so it would be each time.
fn less_used_of(one: &Rc<Address>, other: &Rc<Address>, now: Micros) -> Rc<Address> {
    let is_better = other.in_use.get() < one.in_use.get() && other.share(now) >= one.share(now);
    Rc::clone(if is_better { other } else { one })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use haldane_config::{Ejection, UpstreamAddress};

    use super::*;
    use crate::live::endpoints::Endpoints;
    use crate::live::health::{AddressFailure, RETRIAL};

    const SECOND: Micros = 1_000_000;
    const RULE: Ejection = Ejection {
        failures: 1,
        time: Duration::from_secs(10),
        max: Duration::from_secs(60),
    };

    fn addresses(count: u16) -> Vec<Rc<Address>> {
        let configured: Vec<UpstreamAddress> = (1..=count)
            .map(|port| UpstreamAddress::Tcp {
                host: "127.0.0.1".into(),
                port,
                tls: false,
            })
            .collect();
        let endpoints = Endpoints::new(&configured, None).now();
        endpoints.iter().map(Address::new).collect()
    }

    fn eject(address: &Address, failure: AddressFailure) {
        address.endpoint.health.failed(failure, SECOND, Some(&RULE));
    }

    /// How often each address is chosen in a thousand times.
    fn chosen(addresses: &[Rc<Address>], now: Micros, tried: &[Rc<Address>]) -> Vec<usize> {
        let mut counts = vec![0; addresses.len()];
        for _ in 0..1000 {
            let Some(chosen) = choose(addresses, now, tried) else {
                continue;
            };
            let is_it = |address: &Rc<Address>| Rc::ptr_eq(address, &chosen);
            counts[addresses.iter().position(is_it).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn the_healthy_ones_share_everything() {
        let five = addresses(5);
        let counts = chosen(&five, SECOND, &[]);
        assert!(counts.iter().all(|count| *count > 100), "{counts:?}");
        eject(&five[1], AddressFailure::Connect);
        eject(&five[3], AddressFailure::Broken);
        five[4].endpoint.health.checked(false, SECOND);
        let counts = chosen(&five, SECOND, &[]);
        assert!(counts[0] > 300 && counts[2] > 300, "{counts:?}");
        assert_eq!((counts[1], counts[3], counts[4]), (0, 0, 0));
        let counts = chosen(&five, SECOND, &[Rc::clone(&five[0])]);
        assert_eq!(counts, [0, 0, 1000, 0, 0], "what was tried is not again");
    }

    #[test]
    fn the_busy_ones_get_less() {
        let three = addresses(3);
        three[0].in_use.set(9);
        eject(&three[1], AddressFailure::Connect);
        let counts = chosen(&three, SECOND, &[]);
        assert_eq!(counts, [0, 0, 1000]);
    }

    #[test]
    fn an_address_whose_ejection_is_over_gets_one_request() {
        let three = addresses(3);
        eject(&three[0], AddressFailure::Broken);
        let counts = chosen(&three, 11 * SECOND, &[]);
        assert_eq!(counts[0], 1, "{counts:?}");
        three[0].endpoint.health.checked(false, SECOND);
        let counts = chosen(&three, 20 * SECOND, &[]);
        assert_eq!(counts[0], 0, "its checks fail");
    }

    fn let_in(address: &Address, now: Micros) {
        eject(address, AddressFailure::Broken);
        address.endpoint.health.succeeded(now);
    }

    /// That many of these, give or take what chance does.
    fn assert_near(count: usize, expected: usize) {
        let room = 30 + expected / 5;
        assert!(count.abs_diff(expected) < room, "{count}, not {expected}");
    }

    #[test]
    fn an_address_that_is_back_gets_more_and_more_until_all_are_equal() {
        let four = addresses(4);
        let returned = 100 * SECOND;
        let_in(&four[2], returned);
        for (after, tenths) in [(0, 1), (1, 1), (5, 5), (10, 10), (1000, 10)] {
            let counts = chosen(&four, returned + after * SECOND, &[]);
            let all = 30 + tenths;
            for (index, count) in counts.into_iter().enumerate() {
                let parts = if index == 2 { tenths } else { 10 };
                assert_near(count, 1000 * parts / all);
            }
        }
        let counts = chosen(&four, 0, &[]);
        assert_near(counts[2], 1000 / 31);
    }

    #[test]
    fn that_it_is_used_less_gets_it_no_more_and_that_it_is_used_more_less() {
        let three = addresses(3);
        let returned = 100 * SECOND;
        let_in(&three[0], returned);
        three[1].in_use.set(9);
        three[2].in_use.set(9);
        for (after, tenths) in [(0, 1), (5, 5)] {
            let counts = chosen(&three, returned + after * SECOND, &[]);
            assert_near(counts[0], 1000 * tenths / (20 + tenths));
        }
        three[0].in_use.set(10);
        let counts = chosen(&three, returned + 5 * SECOND, &[]);
        assert_eq!(counts[0], 0, "it is too slow for more");
        // It has all of its share: the less used counts again, as it always does.
        three[0].in_use.set(0);
        let counts = chosen(&three, returned + 10 * SECOND, &[]);
        assert_near(counts[0], 667);
    }

    #[test]
    fn an_address_that_is_back_gets_everything_that_nobody_else_can_take() {
        let only = addresses(1);
        let_in(&only[0], SECOND);
        assert_eq!(chosen(&only, SECOND, &[]), [1000]);
        let three = addresses(3);
        let_in(&three[1], SECOND);
        eject(&three[0], AddressFailure::Connect);
        eject(&three[2], AddressFailure::Broken);
        assert_eq!(chosen(&three, SECOND, &[]), [0, 1000, 0]);
        let two = addresses(2);
        let_in(&two[0], SECOND);
        assert_eq!(chosen(&two, SECOND, &[Rc::clone(&two[1])]), [1000, 0]);
    }

    #[test]
    fn those_that_are_back_share_by_how_long_they_are() {
        let returned = 100 * SECOND;
        // All at once: they are equal, and the less used of two is a good one.
        let three = addresses(3);
        for address in &three {
            let_in(address, returned);
        }
        for count in chosen(&three, returned, &[]) {
            assert_near(count, 333);
        }
        three[0].in_use.set(9);
        let counts = chosen(&three, returned, &[]);
        assert_eq!(counts[0], 0, "{counts:?}");
        // One after the other.
        let two = addresses(2);
        let_in(&two[0], returned);
        let_in(&two[1], returned + 4 * SECOND);
        let counts = chosen(&two, returned + 4 * SECOND, &[]);
        assert_near(counts[1], 200);
        // Many at once leave the only one that stayed its work.
        let five = addresses(5);
        for address in &five[1..] {
            let_in(address, returned);
        }
        let counts = chosen(&five, returned, &[]);
        assert_near(counts[0], 1000 * 10 / 14);
    }

    #[test]
    fn suspicion_alone_makes_no_outage() {
        let two = addresses(2);
        for address in &two {
            eject(address, AddressFailure::Broken);
        }
        let counts = chosen(&two, SECOND, &[]);
        assert!(counts[0] > 300 && counts[1] > 300, "{counts:?}");
        // One that cannot be reached at all is worse.
        let two = addresses(2);
        eject(&two[0], AddressFailure::Connect);
        eject(&two[1], AddressFailure::Broken);
        assert_eq!(chosen(&two, SECOND, &[]), [0, 1000]);
    }

    #[test]
    fn without_any_one_request_now_and_then_finds_out() {
        for count in [1, 3] {
            let dead = addresses(count);
            for address in &dead {
                eject(address, AddressFailure::Connect);
            }
            let chances = |now| chosen(&dead, now, &[]).iter().sum::<usize>();
            assert_eq!(chances(SECOND), 0);
            assert_eq!(chances(SECOND + RETRIAL), usize::from(count));
            assert_eq!(chances(SECOND + RETRIAL), 0);
        }
        assert!(choose(&[], SECOND, &[]).is_none());
        let failing = addresses(2);
        for address in &failing {
            address.endpoint.health.checked(false, SECOND);
        }
        assert!(choose(&failing, 99 * SECOND, &[]).is_none());
    }
}
