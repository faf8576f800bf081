//! Which address of a version gets a request.

use std::rc::Rc;

use super::Address;
use crate::clock::Micros;
use crate::live::health::Standing;

/// The less used of two random healthy addresses (the power of two choices), none of
/// them in `tried`. An address whose ejection is over gets one request instead, by which
/// it is let in or not. Without a healthy one: a suspected one, or one that cannot be
/// reached, if it is time to see whether that still holds. `None` is to be answered at once.
pub(super) fn choose(
    addresses: &[Rc<Address>],
    now: Micros,
    tried: &[Rc<Address>],
) -> Option<Rc<Address>> {
    if tried.is_empty() {
        if let Some(usual) = choose_usual(addresses) {
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
        less_used(addresses, |address| {
            address.standing() == standing && is_new(address)
        })
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

/// The choice where everything it falls on is healthy, which is nearly always.
fn choose_usual(addresses: &[Rc<Address>]) -> Option<Rc<Address>> {
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
    both.iter()
        .all(|address| address.standing() == Standing::Healthy)
        .then(|| less_used_of(one, other))
}

fn less_used(addresses: &[Rc<Address>], may: impl Fn(&Rc<Address>) -> bool) -> Option<Rc<Address>> {
    let count = addresses.iter().filter(|address| may(address)).count();
    if count == 0 {
        return None;
    }
    let one = fastrand::usize(..count);
    let other = (one + fastrand::usize(..count.max(2) - 1) + 1) % count;
    // Another thread may have ejected one of them since they were counted.
    let at = |index| addresses.iter().filter(|address| may(address)).nth(index);
    match (at(one), at(other)) {
        (Some(one), Some(other)) => Some(less_used_of(one, other)),
        (one, other) => one.or(other).cloned(),
    }
}

fn less_used_of(one: &Rc<Address>, other: &Rc<Address>) -> Rc<Address> {
    Rc::clone(if one.in_use.get() <= other.in_use.get() {
        one
    } else {
        other
    })
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
        five[4].endpoint.health.checked(false);
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
        three[0].endpoint.health.checked(false);
        let counts = chosen(&three, 20 * SECOND, &[]);
        assert_eq!(counts[0], 0, "its checks fail");
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
            address.endpoint.health.checked(false);
        }
        assert!(choose(&failing, 99 * SECOND, &[]).is_none());
    }
}
