//! Who gets which version: the same key the same one, until the weight says otherwise.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};

use haldane_decide::split::Salt;
use haldane_decide::weight::Weight;

use crate::support::client::Client;
use crate::support::proxy::{Proxy, Setup};
use crate::support::upstream::Upstream;

/// What all splits here are salted with.
const SALT: &str = "tests";

/// Who gets the canary under this weight, as the pure code says.
fn role_of(key: impl AsRef<[u8]>, weight: &str) -> &'static str {
    let weight: Weight = weight.parse().expect("is a share");
    let key = Salt::from_text(SALT).split_key(key.as_ref());
    key.role(weight).as_str()
}

/// The key that a client's address is.
fn address_key(address: &str) -> [u8; 16] {
    match address.parse().expect("is an address") {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// haldane, the versions behind it, and what its route says about stickiness.
struct Split {
    _versions: [Upstream; 2],
    proxy: Proxy,
}

impl Split {
    fn start(weight: &str, sticky: &str) -> Self {
        Self::with(weight, sticky, |setup| setup)
    }

    fn with(weight: &str, sticky: &str, more: impl Fn(Setup) -> Setup) -> Self {
        let versions = ["stable", "canary"].map(Upstream::named);
        let setup = Setup::canary(&versions[0], &versions[1], weight)
            .section(&format!("[route.sticky]\n{sticky}"));
        Self {
            proxy: more(setup).start(),
            _versions: versions,
        }
    }

    /// Asks with these fields, on a connection of its own, who answers.
    #[track_caller]
    fn asks(&self, fields: &[(&str, &str)]) -> String {
        self.proxy.get("/", fields).text()
    }
}

/// Asks for each of these users who answers.
#[track_caller]
fn roles(client: &mut Client, users: &[String]) -> Vec<String> {
    users
        .iter()
        .map(|user| client.get("/", &[("x-user", user)]).text())
        .collect()
}

#[test]
fn a_ramp_moves_keys_in_its_own_direction_only_and_where_the_salt_says() {
    const CLIENTS: usize = 4;
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "0%")
        .top("workers = 2")
        .by_user()
        .start();
    let users: Vec<_> = (0..3000).map(|n| format!("user-{n}")).collect();
    // These stay open through the whole ramp.
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| proxy.client()).collect();
    let share = users.len() / CLIENTS;
    let mut before = vec!["stable".to_owned(); users.len()];
    let mut expected = 0;
    for weight in ["0%", "1%", "5%", "25%", "50%", "100%", "0%"] {
        proxy.set_weight(weight);
        let after: Vec<String> = std::thread::scope(|scope| {
            let asking: Vec<_> = clients
                .iter_mut()
                .zip(users.chunks(share))
                .map(|(client, users)| scope.spawn(move || roles(client, users)))
                .collect();
            let answers = asking.into_iter().map(|thread| thread.join());
            answers.flat_map(|roles| roles.expect("asks")).collect()
        });
        // The ramp ends where it began, with the only step down.
        let falls = weight == "0%";
        for ((user, was), is) in users.iter().zip(&before).zip(&after) {
            assert!(was == is || (is == "stable") == falls, "{user} at {weight}");
            assert_eq!(is, role_of(user, weight), "{user} at {weight}");
        }
        expected += after.iter().filter(|role| *role == "canary").count();
        assert_eq!(canary.log.len(), expected, "{weight}");
        before = after;
    }
    assert_eq!(stable.log.len() + expected, 7 * users.len());
}

#[test]
fn processes_with_the_same_salt_agree_and_a_new_generation_has_a_new_one_unless_it_is_fixed() {
    let users: Vec<_> = (0..60).map(|n| n.to_string()).collect();
    let sticky = |salt| format!("key = \"header:x-user\"\nsalt = \"{salt}\"");
    let [one, other, third, auto] =
        [SALT, SALT, "others", "auto"].map(|salt| Split::start("50%", &sticky(salt)));
    let asked = |split: &Split| roles(&mut split.proxy.client(), &users);
    let first = asked(&one);
    assert_eq!(first, asked(&other));
    // For all of 60 keys to agree by chance is less likely than 1 in 10^18.
    assert_ne!(first, asked(&third));

    let picked = asked(&auto);
    assert_eq!(picked, asked(&auto));
    for split in [&one, &auto] {
        split.proxy.roll_back();
        assert_eq!(asked(split), vec!["stable"; users.len()]);
        split.proxy.retry();
    }
    assert_eq!(first, asked(&one));
    assert_ne!(picked, asked(&auto));
}

#[test]
fn the_first_key_that_a_request_has_decides() {
    let split = Split::with(
        "50%",
        "key = [\"header:x-user\", \"cookie:session\", \"client-ip\"]\nsalt = \"tests\"",
        |setup| setup.top("trusted_proxies = [\"127.0.0.0/8\"]"),
    );
    for n in 0..40 {
        let (user, session, client) = (format!("u{n}"), format!("s{n}"), format!("192.0.2.{n}"));
        let cookie = format!("a=b; session={session}; c=d");
        let user_field = ("X-USER", &*user);
        let fields = [("cookie", &*cookie), ("x-forwarded-for", &*client)];
        assert_eq!(
            split.asks(&[fields[1], fields[0], user_field]),
            role_of(&user, "50%")
        );
        // What is empty is not there.
        for more in [None, Some(("x-user", ""))] {
            let fields: Vec<_> = fields.into_iter().chain(more).collect();
            assert_eq!(split.asks(&fields), role_of(&session, "50%"));
        }
        for cookie in ["session=", "sessions=x; a=session", ";"] {
            assert_eq!(
                split.asks(&[("cookie", cookie), fields[1]]),
                role_of(address_key(&client), "50%")
            );
        }
    }
}

#[test]
fn only_a_trusted_proxy_says_which_client_it_is() {
    let sticky = "key = \"client-ip\"\nsalt = \"tests\"";
    let start = |networks| {
        Split::with("50%", sticky, |setup| {
            setup.top(&format!("trusted_proxies = [{networks}]"))
        })
    };
    let trusting = start("\"127.0.0.0/8\", \"10.0.0.0/8\"");
    let strangers = [
        Split::start("50%", sticky),
        start("\"10.0.0.0/8\", \"192.0.2.0/24\""),
    ];
    let peer = Ipv4Addr::LOCALHOST.to_string();
    for n in 0..40 {
        let client = format!("192.0.2.{n}");
        // The last address that no trusted proxy has; what is before it may be a lie.
        for told in [
            client.clone(),
            format!("203.0.113.{n}, {client}"),
            format!("203.0.113.{n},{client} , 10.0.0.{n}"),
            format!("::ffff:{client}"),
        ] {
            let fields = [("x-forwarded-for", &*told)];
            assert_eq!(
                trusting.asks(&fields),
                role_of(address_key(&client), "50%"),
                "{told}"
            );
            for stranger in &strangers {
                assert_eq!(stranger.asks(&fields), role_of(address_key(&peer), "50%"));
            }
        }
    }
}

#[test]
fn weight_0_is_nobody_and_100_is_everybody() {
    for on_missing in ["random", "stable", "cookie"] {
        let split = Split::start(
            "0%",
            &format!("key = \"header:x-user\"\non_missing = \"{on_missing}\"\nsalt = \"tests\""),
        );
        for (weight, role) in [("0%", "stable"), ("100%", "canary"), ("0%", "stable")] {
            split.proxy.set_weight(weight);
            for n in 0..100 {
                assert_eq!(split.asks(&[("x-user", &n.to_string())]), role);
                assert_eq!(split.asks(&[]), role, "{on_missing} at {weight}");
            }
        }
    }
}

#[test]
fn who_has_no_key_stays_on_stable_or_is_split_by_chance() {
    let ask = |weight: &str, on_missing: &str| {
        let sticky = format!("key = \"header:x-user\"\non_missing = \"{on_missing}\"");
        let split = Split::start(weight, &sticky);
        let mut client = split.proxy.client();
        let answers = (0..600).map(|_| client.get("/", &[]));
        answers
            .map(|answer| {
                assert_eq!(answer.head.one("set-cookie"), None);
                answer.text()
            })
            .filter(|role| role == "canary")
            .count()
    };
    assert_eq!(ask("99.9999%", "stable"), 0);
    // A fair split is that far off once in 10^9 runs: six standard deviations of 12.2.
    let by_chance = ask("50%", "random");
    assert!(by_chance.abs_diff(300) < 74, "{by_chance} of 600");
}

#[test]
fn an_issued_cookie_keeps_its_client_where_it_is() {
    let split = Split::start(
        "30%",
        "key = \"cookie:session\"\non_missing = \"cookie\"\nsalt = \"tests\"",
    );
    let proxy = &split.proxy;
    let mut holders = Vec::new();
    for _ in 0..100 {
        let answer = proxy.get("/", &[("cookie", "session=; theme=dark")]);
        let set = answer.head.one("set-cookie").expect("a cookie is issued");
        let (pair, attributes) = set.split_once("; ").expect("has attributes");
        assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax");
        let key = pair.strip_prefix("haldane-key=").expect("has this name");
        assert_eq!(answer.text(), role_of(key, "30%"));
        holders.push(key.to_owned());
    }
    assert_eq!(holders.iter().collect::<HashSet<_>>().len(), 100);
    for weight in ["30%", "60%", "10%"] {
        proxy.set_weight(weight);
        for key in &holders {
            let cookie = format!("theme=dark; haldane-key={key}");
            let answer = proxy.get("/", &[("cookie", &cookie)]);
            assert_eq!(answer.text(), role_of(key, weight));
            assert_eq!(answer.head.one("set-cookie"), None, "issued once");
            // A key of its own comes first.
            let answer = proxy.get("/", &[("cookie", &format!("{cookie}; session=mine"))]);
            assert_eq!(answer.text(), role_of("mine", weight));
            assert_eq!(answer.head.one("set-cookie"), None);
        }
    }
}

#[test]
fn only_a_trusted_peer_forces_a_version_and_never_one_that_has_no_weight() {
    let forced = |weight: &str, from: &str| {
        let sticky = format!(
            "key = \"header:x-user\"\nsalt = \"tests\"\n\
             force = {{ header = \"x-version\", from = [\"{from}\"] }}"
        );
        // What a trusted proxy says about its client makes nobody trusted to force.
        Split::with(weight, &sticky, |setup| {
            setup.top("trusted_proxies = [\"127.0.0.0/8\"]")
        })
    };
    let users: Vec<_> = (0..20).map(|n| format!("u{n}")).collect();
    let trusting = forced("50%", "127.0.0.0/8");
    let distrusting = forced("50%", "10.0.0.0/8");
    let closed = forced("0%", "127.0.0.0/8");
    for user in &users {
        let key = ("x-user", &**user);
        for role in ["stable", "canary"] {
            let fields = [key, ("X-Version", role)];
            assert_eq!(trusting.asks(&fields), role);
            let claim = [key, fields[1], ("x-forwarded-for", "10.0.0.1")];
            assert_eq!(distrusting.asks(&claim), role_of(user, "50%"));
            assert_eq!(closed.asks(&fields), "stable");
        }
        // What names no role forces nothing.
        for word in ["", "v2", "CANARY", "canary2", "canary, stable"] {
            let fields = [key, ("x-version", word)];
            assert_eq!(trusting.asks(&fields), role_of(user, "50%"), "{word:?}");
        }
    }
    trusting.proxy.set_weight("100%");
    assert_eq!(trusting.asks(&[("x-version", "stable")]), "stable");
    trusting.proxy.roll_back();
    for user in &users {
        let fields = [("x-user", &**user), ("x-version", "canary")];
        assert_eq!(trusting.asks(&fields), "stable");
    }
}
