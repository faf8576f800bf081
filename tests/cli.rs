//! The command line: what it prints, and what it ends with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::support::proxy::{Proxy, Setup};
use super::support::upstream::Upstream;

mod process;
mod report;
mod rollout;
mod watch;

/// What a verb printed and ended with.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The binary, away from the environment of whoever runs the tests.
pub(crate) fn haldane(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_haldane"));
    command
        .args(args)
        .env_clear()
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::null());
    command
}

pub(crate) fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().expect("ends by itself"),
        out: String::from_utf8(output.stdout).expect("prints text"),
        err: String::from_utf8(output.stderr).expect("prints text"),
    }
}

pub(crate) fn run(args: &[&str]) -> Ran {
    ran(haldane(args).output().expect("starts"))
}

/// A client verb that talks to `admin`.
fn ask(admin: SocketAddr, args: &[&str]) -> Ran {
    let mut command = haldane(args);
    command.env("HALDANE_ADMIN", format!("http://{admin}"));
    ran(command.output().expect("starts"))
}

/// A file for one test.
pub(crate) fn file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-{name}"));
    std::fs::write(&path, text).expect("writes");
    path
}

/// A proxy with a canary that has half of the users, and its upstreams.
fn half() -> (Proxy, [Upstream; 2]) {
    let upstreams = [Upstream::named("stable"), Upstream::named("canary")];
    let setup = Setup::canary(&upstreams[0], &upstreams[1], "50%");
    (setup.by_user().start(), upstreams)
}

#[test]
fn a_command_line_that_makes_no_sense_ends_with_2() {
    for args in [
        &[][..],
        &["nope"],
        &["run", "--nope"],
        &["weight"],
        &["weight", "5"],
        &["weight", "101%"],
        &["weight", "a", "5%", "b"],
        &["rollback", "a", "--all"],
        &["explain"],
        &["explain", "--header", "no-value"],
        &["status", "--wait", "nope"],
        &["watch", "--until", "nope"],
        &["report", "--format", "html"],
        &["report", "--generation", "-1"],
        &["status", "--timeout", "5"],
        &["tap", "--limit", "0"],
        &["tap", "--role", "both"],
        &["status", "--admin", "https://127.0.0.1:1"],
        &["status", "--admin", "http://127.0.0.1:1/path"],
        &["status", "--admin", ""],
        &["status", "--token-file", "cli-no-such-file"],
    ] {
        let ran = run(args);
        assert_eq!(ran.code, 2, "{args:?}: {ran:?}");
        assert!(
            !ran.err.is_empty() && ran.out.is_empty(),
            "{args:?}: {ran:?}"
        );
    }
}

#[test]
fn help_and_version_are_results() {
    for args in [
        &["--help"][..],
        &["--version"],
        &["status", "--help"],
        &["help", "run"],
    ] {
        let ran = run(args);
        assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
        assert!(
            !ran.out.is_empty() && ran.err.is_empty(),
            "{args:?}: {ran:?}"
        );
    }
}

#[test]
fn check_says_everything_that_is_wrong_and_run_says_the_same() {
    let path = file(
        "wrong.toml",
        "lisen = \":8080\"\n[[route]]\nstable = \"http://127.0.0.1:3000\"\nweight = 5\n",
    );
    let path = path.to_str().expect("is text");
    let check = run(&["check", path]);
    assert_eq!(check.code, 78, "{check:?}");
    assert_eq!(check.out, "");
    for part in ["unknown key `lisen`", "wrong.toml:1", "wrong.toml:4", "^"] {
        assert!(check.err.contains(part), "{part}: {}", check.err);
    }
    assert!(!check.err.contains('\x1b'), "colours without a terminal");
    let started = run(&["run", "-c", path]);
    assert_eq!((started.code, started.err), (78, check.err));
}

#[test]
fn check_names_what_is_valid() {
    let path = file(
        "valid.toml",
        "listen = \":8080\"\n[[route]]\nstable = \"http://127.0.0.1:3000\"\n",
    );
    let ran = run(&["check", path.to_str().expect("is text")]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.out
            .ends_with("cli-valid.toml is valid: 1 route (default)\n"),
        "{ran:?}"
    );
}

#[test]
fn a_result_that_cannot_be_printed_is_no_success_and_a_reader_that_left_is_no_failure() {
    let flags = ["check", "--listen", ":0", "--stable", "http://127.0.0.1:1"];
    let full = std::fs::File::options().write(true).open("/dev/full");
    let mut command = haldane(&flags);
    let status = command.stdout(full.expect("opens")).status();
    assert_eq!(status.expect("starts").code(), Some(1));

    let (reader, writer) = std::io::pipe().expect("opens a pipe");
    drop(reader);
    let mut command = haldane(&flags);
    let output = ran(command.stdout(writer).output().expect("starts"));
    assert_eq!((output.code, output.err.as_str()), (0, ""));
}

#[test]
fn flags_alone_are_a_configuration_and_nothing_is_not() {
    let flags = ["check", "--listen", ":0", "--stable", "http://127.0.0.1:1"];
    let ran = run(&flags);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.out, "the command line is valid: 1 route (default)\n");

    let mut from_environment = haldane(&["check"]);
    from_environment
        .env("HALDANE_LISTEN", ":0")
        .env("HALDANE_STABLE", "http://127.0.0.1:1")
        .env("HALDANE_WEIGHT", "nonsense");
    let output = self::ran(from_environment.output().expect("starts"));
    assert_eq!(output.code, 78, "{output:?}");
    assert!(output.err.contains("--weight nonsense"), "{output:?}");

    let ran = run(&["check"]);
    assert_eq!(ran.code, 78, "{ran:?}");
    assert!(
        ran.err.contains("haldane.toml") && ran.err.contains("--stable"),
        "{ran:?}"
    );
}

#[test]
fn who_does_not_answer_as_haldane_is_unreachable() {
    let stranger = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
    let proud = Upstream::answering("HTTP/1.1 404 Not Found\r\ncontent-length: 5\r\n\r\nhello");
    let silent = Upstream::closing("");
    let refusing = Upstream::refusing();
    for upstream in [&stranger, &proud, &silent, &refusing] {
        let ran = ask(upstream.address, &["status"]);
        assert_eq!(ran.code, 15, "{ran:?}");
        assert!(ran.err.starts_with("error: "), "{ran:?}");
    }
}

#[test]
fn a_command_without_the_token_is_unauthorised() {
    let token = file("token", "correct-horse-battery-staple-and-more\n");
    let wrong = file("wrong-token", "correct-horse-battery-stable-and-more\n");
    let (token, wrong) = (
        token.to_str().expect("is text"),
        wrong.to_str().expect("is text"),
    );
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let setup = Setup::canary(&stable, &canary, "50%");
    let listen = "admin = { listen = \"127.0.0.1:0\" }";
    let text = setup.text();
    assert!(text.contains(listen), "{text}");
    let proxy = Proxy::start(&text.replace(
        listen,
        &format!("admin = {{ listen = \"127.0.0.1:0\", token_file = \"{token}\" }}"),
    ));
    let rollback = |flags: &[&str]| {
        let args = [&["rollback", "default"], flags].concat();
        ask(proxy.admin_address, &args).code
    };
    assert_eq!(rollback(&[]), 15);
    assert_eq!(rollback(&["--token-file", wrong]), 15);
    assert_eq!(rollback(&["--token-file", token]), 0);
}

#[test]
fn status_shows_the_object_of_the_api_as_it_is() {
    let (proxy, _upstreams) = half();
    let ran = ask(proxy.admin_address, &["status", "-o", "json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let all: Value = serde_json::from_str(&ran.out).expect("is JSON");
    assert_eq!(all["schema"], "haldane.status/1");
    assert_eq!(all["routes"][0]["weight"], "50%");
    let ran = ask(proxy.admin_address, &["status", "default", "-o", "json"]);
    let one: Value = serde_json::from_str(&ran.out).expect("is JSON");
    assert_eq!(one["route"], "default");
    assert_eq!(ask(proxy.admin_address, &["status", "nope"]).code, 2);
}

#[test]
fn every_command_that_status_shows_is_legal_and_changes_something() {
    let (proxy, _upstreams) = half();
    let admin = proxy.admin_address;
    let shown = || -> Vec<String> {
        let ran = ask(admin, &["status"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let lines = ran.out.lines().map(str::trim);
        let commands = lines.filter_map(|line| line.strip_prefix("haldane "));
        commands.map(|line| line.replace("SHARE", "7%")).collect()
    };
    let mut verbs = Vec::new();
    // Weight and rollback while idle, then retry.
    for _ in 0..2 {
        for line in shown() {
            let args: Vec<&str> = line.split(' ').collect();
            // The flags that are shown must be enough to reach the same haldane.
            let ran = run(&args);
            assert_eq!(ran.code, 0, "{line}: {ran:?}");
            assert!(!ran.out.contains("nothing changed"), "{line}: {ran:?}");
            verbs.push(args[args.len() - 2].to_owned());
        }
    }
    assert!(verbs.contains(&"retry".to_owned()), "{verbs:?}");
    assert_eq!(proxy.status()["generation"], 2);
}

#[test]
fn commands_are_idempotent_and_what_is_illegal_ends_with_14() {
    let (proxy, _upstreams) = half();
    let run = |args: &[&str]| ask(proxy.admin_address, args);
    for (args, code, part) in [
        (&["weight", "12.5%"][..], 0, "canary has 12.5%"),
        (&["weight", "default", "12.5%"], 0, "nothing changed"),
        (&["retry"], 0, "nothing changed"),
        (&["rollback", "--reason", "a bad feeling"], 0, "rolled back"),
        (&["rollback", "--all"], 0, "nothing changed"),
        (&["weight", "5%"], 14, ""),
        (&["weight", "0%"], 0, "nothing changed"),
        (&["retry", "-o", "json"], 0, "\"changed\":true"),
        (&["rollback", "--all"], 0, "rolled back"),
    ] {
        let ran = run(args);
        assert_eq!(ran.code, code, "{args:?}: {ran:?}");
        assert!(ran.out.contains(part), "{args:?}: {ran:?}");
        assert_eq!(ran.err.is_empty(), code == 0, "{args:?}: {ran:?}");
    }
    let events = proxy.events(0);
    let reasons: Vec<&Value> = events.iter().map(|event| &event["by"]["reason"]).collect();
    assert!(
        reasons.contains(&&Value::from("a bad feeling")),
        "{reasons:?}"
    );
    let refused = run(&["weight", "5%"]);
    assert!(refused.err.contains("hint: "), "{refused:?}");
}

#[test]
fn a_route_must_be_named_if_there_are_several() {
    let stable = Upstream::named("stable");
    let text = Setup::stable(&stable).text();
    let text = format!(
        "{text}[[route]]\nname = \"shop\"\nmatch = {{ path = \"/shop/*\" }}\nstable = \"{}\"\n",
        stable.url()
    );
    let proxy = Proxy::start(&text);
    let ran = ask(proxy.admin_address, &["rollback"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(
        ran.err.contains("default") && ran.err.contains("shop"),
        "{ran:?}"
    );
    let ran = ask(proxy.admin_address, &["status"]);
    assert!(
        ran.out.contains("route default") && ran.out.contains("route shop"),
        "{ran:?}"
    );
}

#[test]
fn waiting_ends_with_what_happened() {
    let (proxy, _upstreams) = half();
    let run = |args: &[&str]| ask(proxy.admin_address, args).code;
    assert_eq!(run(&["status", "--wait", "idle"]), 0);
    // Without traffic the gates cannot pass.
    assert_eq!(run(&["status", "--wait", "pass", "--timeout", "100ms"]), 12);

    let mut waiting = haldane(&["status", "default", "--wait", "rolled_back"]);
    waiting
        .env("HALDANE_ADMIN", format!("http://{}", proxy.admin_address))
        .stdout(Stdio::null());
    let mut waiting = waiting.spawn().expect("starts");
    proxy.roll_back();
    let status = waiting.wait().expect("ends");
    assert_eq!(status.code(), Some(0));
    assert_eq!(run(&["status", "--wait", "pass"]), 10);
}

#[test]
fn explain_says_where_requests_go() {
    let (proxy, _upstreams) = half();
    for user in 0..20 {
        let user = format!("user-{user}");
        let answer = proxy.get("/", &[("x-user", &user)]).text();
        let by_key = ask(proxy.admin_address, &["explain", &user]);
        let field = format!("X-User={user}");
        let by_header = ask(proxy.admin_address, &["explain", "--header", &field]);
        for ran in [by_key, by_header] {
            let role = ran.out.split(' ').next().unwrap_or_default();
            assert_eq!(ran.code, 0, "{ran:?}");
            assert!(
                answer.contains(role),
                "{user} was answered {answer:?}: {ran:?}"
            );
        }
    }
}

#[test]
fn completions_are_for_every_shell_and_name_every_verb() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = run(&["completions", shell]);
        assert_eq!(ran.code, 0, "{ran:?}");
        for verb in [
            "run", "check", "status", "watch", "report", "weight", "rollback", "retry", "explain",
            "tap",
        ] {
            assert!(ran.out.contains(verb), "{shell} lacks {verb}");
        }
    }
}
