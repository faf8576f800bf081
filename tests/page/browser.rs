//! The page in Chromium, with a hand on it.

use super::*;
use crate::support::tls::Directory;
use crate::support::tools::{Server, installed, script};

/// A browser with the page in it.
struct Page(Server);

impl Page {
    #[track_caller]
    fn open(proxy: &Proxy) -> Self {
        let chromium = installed("chromium", "chromium");
        let browser = Server::spawn(script("drive.py").arg("--chromium").arg(chromium));
        let mut page = Self(browser);
        page.order(&json!({ "open": format!("http://{}/", proxy.admin_address) }));
        page.until("is live", "document.body?.classList.contains('live')");
        // Whoever loads it anew loses this.
        page.see("globalThis.isSame = true");
        page
    }

    /// Does something, which must be possible.
    #[track_caller]
    fn order(&mut self, order: &Value) -> Value {
        let answer = self.0.ask(order);
        assert!(answer.get("error").is_none(), "{order}: {answer}");
        answer["value"].clone()
    }

    #[track_caller]
    fn see(&mut self, expression: &str) -> Value {
        self.order(&json!({ "evaluate": expression }))
    }

    #[track_caller]
    fn until(&mut self, what: &str, expression: &str) {
        eventually(what, || {
            self.see(&format!("Boolean({expression})")) == json!(true)
        });
    }

    /// Waits until what the selector finds is there and has this in its text.
    #[track_caller]
    fn until_says(&mut self, selector: &str, text: &str) {
        let (node, text) = (json!(selector), json!(text));
        self.until(
            &format!("{selector} says {text}"),
            &format!(
                "[...document.querySelectorAll({node})].some((node) => \
                 node.checkVisibility() && node.innerText.includes({text}))"
            ),
        );
    }

    /// Clicks on the button with this label, as soon as it is there.
    #[track_caller]
    fn press(&mut self, label: &str) {
        let find = format!(
            "(() => {{ const all = [...document.querySelectorAll('button')]; \
             all.forEach((one) => one.removeAttribute('data-found')); \
             const found = all.find((one) => !one.disabled && one.checkVisibility() && one.innerText === {}); \
             found?.setAttribute('data-found', ''); return found; }})()",
            json!(label)
        );
        eventually(label, || {
            self.see(&format!("Boolean({find})")) == json!(true)
                && self
                    .0
                    .ask(&json!({ "click": "[data-found]" }))
                    .get("error")
                    .is_none()
        });
    }

    #[track_caller]
    fn enter(&mut self, selector: &str, text: &str) {
        self.order(&json!({ "type": selector, "text": text }));
    }

    /// Nothing was loaded anew, and nothing ran that is not the page's.
    #[track_caller]
    fn is_untouched(&mut self) {
        assert_eq!(self.see("globalThis.isSame"), json!(true));
        assert_eq!(self.see("typeof globalThis.isHit"), json!("undefined"));
    }
}

/// A rollout that waits at its first step for a long time.
fn rollout(stable: &Upstream, canary: &Upstream) -> Setup {
    Setup::stable(stable)
        .route(&format!(
            "canary = {{ version = \"v2\", upstream = \"{}\" }}",
            canary.url()
        ))
        .by_user()
        .section("[route.rollout]\nsteps = [\"5% for 1h\", \"25% for 1h\", \"100%\"]")
        .meltdown(3)
}

fn until_phase(proxy: &Proxy, phase: &str, weight: &str) {
    eventually(phase, || {
        let status = proxy.status();
        status["phase"] == phase && status["weight"] == weight
    });
}

/// The command that the newest event says was its cause.
fn newest(proxy: &Proxy) -> (Value, Value) {
    let events = proxy.events(0);
    let newest = events.last().expect("something happened");
    (newest["kind"].clone(), newest["by"].clone())
}

#[test]
fn a_failing_canary_is_seen_to_be_rolled_back_without_loading_anew() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "50%")
        .by_user()
        .meltdown(3)
        .start();
    proxy.users_of_canary();
    let mut page = Page::open(&proxy);
    page.until_says("summary .weight", "50%");
    page.until_says("summary .sentence", "every gate passes");
    page.until_says(".versions", "v2");
    page.until_says("section", "users were on the canary, 0 saw an error");

    canary.behave(Behaviour::Status(500));
    eventually("a rollback", || {
        proxy.users_of_canary();
        proxy.status()["phase"] == "rolled_back"
    });
    let cause = proxy.status()["cause"].as_str().unwrap().to_owned();
    page.until_says("summary .phase", "ROLLED BACK");
    page.until_says("summary .sentence", &format!("rolled back: {cause}"));
    page.until_says("summary .weight", "0%");
    page.until_says("#events .critical", "has lost its 50%");
    page.until_says("tr.fail", "meltdown");
    page.until("it is heard", "said.textContent.includes('rolled back')");
    page.until("the window says so", "document.title.startsWith('✖')");
    page.until(
        "no more to roll back",
        "document.querySelector('.commands .danger').disabled",
    );
    page.is_untouched();
}

#[test]
fn buttons_steer_and_the_log_has_who_and_why() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = rollout(&stable, &canary).start();
    until_phase(&proxy, "progressing", "5%");
    let mut page = Page::open(&proxy);
    page.until_says(".plan .here", "5%");
    page.until_says("summary .next", "waits for its hold");
    page.enter("#actor", "kim");
    page.enter(".reasons input", "lunch");

    page.press("‖ Pause");
    until_phase(&proxy, "paused", "5%");
    let by = json!({ "kind": "command", "actor": "kim", "reason": "lunch" });
    assert_eq!(newest(&proxy), (json!("paused"), by.clone()));
    page.until_says("summary .sentence", "paused by command by kim: lunch");
    page.until_says("#events", "paused at 5%, by kim: “lunch”");

    // What raises the canary's share is asked about, and "no" is an answer.
    page.press("▲ Promote to 25%");
    page.until_says("#confirm", "Give the canary 25%");
    page.press("Cancel");
    page.until("closed", "!document.querySelector('dialog[open]')");
    assert_eq!(proxy.status()["weight"], "5%");
    page.press("▲ Promote to 25%");
    page.press("Yes");
    until_phase(&proxy, "progressing", "25%");
    page.until_says("summary .weight", "25%");

    // A lower weight is not asked about; nonsense is refused in the API's words.
    page.enter(".share", "3");
    page.press("Set weight");
    until_phase(&proxy, "paused", "3%");
    page.enter(".share", "lots");
    page.press("Set weight");
    page.press("Yes");
    page.until_says(".body .answer", "the weight cannot be used");

    page.press("Freeze");
    page.until_says(".alarm", "Frozen since");
    page.press("▶ Resume");
    page.press("Yes");
    page.press("Unfreeze");
    page.until(
        "no alarm",
        "document.querySelectorAll('.alarm').length === 0",
    );

    page.enter(".reasons input", "users complain");
    page.press("■ Roll back");
    until_phase(&proxy, "rolled_back", "0%");
    let by = json!({ "kind": "command", "actor": "kim", "reason": "users complain" });
    assert_eq!(newest(&proxy), (json!("rolled_back"), by));
    page.until_says("summary .weight", "0%");
    page.is_untouched();
}

#[test]
fn what_has_changed_since_it_was_shown_is_not_commanded() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = rollout(&stable, &canary).start();
    until_phase(&proxy, "progressing", "5%");
    let mut page = Page::open(&proxy);
    page.press("▲ Promote to 100%");
    page.until_says("#confirm", "all traffic");
    let (status, _) = proxy.admin("POST", "/v1/routes/default/pause", &json!({}));
    assert_eq!(status, 200);
    page.until_says("summary .phase", "PAUSED");
    page.press("Yes");
    page.until_says(".body .answer", "the release has changed");
    assert_eq!(proxy.status()["weight"], "5%");
    // What takes traffic away asks for nothing.
    page.press("■ Roll back everything");
    until_phase(&proxy, "rolled_back", "0%");
}

#[test]
fn texts_of_others_are_texts() {
    const HOSTILE: &str = "<img src=x onerror='globalThis.isHit=1'><script>isHit=1</script>";
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Setup::canary(&stable, &canary, "50%")
        .with("version = \"v2\"", &format!("version = \"v2{HOSTILE}\""))
        .by_user()
        .start();
    let mut page = Page::open(&proxy);
    let body = json!({ "weight": "40%", "reason": HOSTILE, "actor": HOSTILE });
    let (status, _) = proxy.admin("PUT", "/v1/routes/default/weight", &body);
    assert_eq!(status, 200);
    let (status, _) = proxy.admin("PUT", "/v1/freeze", &json!({ "reason": HOSTILE }));
    assert_eq!(status, 200);
    let body = json!({ "reason": HOSTILE });
    let (status, _) = proxy.admin("POST", "/v1/routes/default/rollback", &body);
    assert_eq!(status, 200);
    page.until_says("#events", &format!("“{HOSTILE}”"));
    page.until_says(".versions", &format!("v2{HOSTILE}"));
    page.until_says(".alarm", HOSTILE);
    page.until_says("summary .sentence", HOSTILE);
    assert_eq!(
        page.see("document.querySelectorAll('img, body script').length"),
        json!(0)
    );
    page.is_untouched();
}

#[test]
fn a_listener_with_a_token_is_told_it_once() {
    let directory = Directory::new("page-token");
    let file = directory.path("token");
    std::fs::write(&file, "s3cret\n").expect("writes the token");
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = rollout(&stable, &canary)
        .with(
            "admin = { listen = \"127.0.0.1:0\" }",
            &format!("admin = {{ listen = \"127.0.0.1:0\", token_file = {file:?} }}"),
        )
        .start();
    let mut page = Page::open(&proxy);
    let phase = "document.querySelector('.route').dataset.phase";
    page.until("it is seen", &format!("{phase} === 'progressing'"));

    page.press("‖ Pause");
    page.press("Cancel");
    page.until_says(".body .answer", "needs the token");
    for token in ["wrong", "s3cret"] {
        if token == "wrong" {
            page.press("‖ Pause");
        }
        page.until(
            "it is asked for",
            "token.open && document.activeElement.value === ''",
        );
        page.enter("#token-value", token);
        page.order(&json!({ "press": "Enter" }));
    }
    page.until("it is paused", &format!("{phase} === 'paused'"));
    // It is not asked for again, and kept nowhere.
    page.press("■ Roll back");
    page.until("it is rolled back", &format!("{phase} === 'rolled_back'"));
    let kept = "localStorage.length + sessionStorage.length + document.cookie.length \
                + document.getElementById('token-value').value.length";
    assert_eq!(page.see(kept), json!(0));
}

#[test]
fn what_is_old_is_shown_as_old_until_haldane_is_back() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let setup = Setup::canary(&stable, &canary, "50%").by_user();
    let proxy = setup.start();
    let admin = proxy.admin_address;
    let mut page = Page::open(&proxy);
    drop(proxy);
    page.until_says("#connection", "Connection lost since");
    page.until("it is grey", "document.body.classList.contains('stale')");

    let listen = "admin = { listen = \"127.0.0.1:0\" }";
    let same = format!("admin = {{ listen = \"{admin}\" }}");
    let again = setup.with(listen, &same).with("50%", "20%").start();
    page.until_says("#connection", "live");
    page.until_says("summary .weight", "20%");
    page.until(
        "it is not grey",
        "!document.body.classList.contains('stale')",
    );
    page.is_untouched();
    drop(again);
}

#[test]
fn of_several_routes_the_worst_comes_first() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let route = |name: &str| {
        format!(
            "[[route]]\nname = \"{name}\"\nmatch = {{ host = \"{name}.test\" }}\n\
             stable = {{ version = \"v1\", upstream = \"{}\" }}\n\
             canary = {{ version = \"v2\", upstream = \"{}\" }}\nweight = \"10%\"\n",
            stable.url(),
            canary.url()
        )
    };
    let proxy = Proxy::start(&format!(
        "listen = \"127.0.0.1:0\"\nadmin = {{ listen = \"127.0.0.1:0\" }}\n\
         drain = {{ linger = \"0s\", timeout = \"200ms\" }}\n{}{}",
        route("a"),
        route("b")
    ));
    let mut page = Page::open(&proxy);
    let order =
        "[...document.querySelectorAll('.route .name')].map((one) => one.firstChild.data).join()";
    page.until("both are there", &format!("{order} === 'a,b'"));
    let (status, _) = proxy.admin("POST", "/v1/routes/b/rollback", &json!({}));
    assert_eq!(status, 200);
    page.until("b is first", &format!("{order} === 'b,a'"));
    page.see("location.hash = '#route-b'");
    page.until_says("#route-b .versions", "v2");
}
