//! The pipelines in `deploy/ci`, step by step against the real program.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{read, root};
use crate::rollout::Load;
use crate::support::eventually::some;
use crate::support::proxy::{Proxy, Setup};
use crate::support::tls::Directory;
use crate::support::upstream::{Behaviour, Upstream};

/// When a step is run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum When {
    Always,
    AfterFailure,
    AfterSuccess,
}

/// One step of a pipeline.
#[derive(Debug)]
struct Step {
    when: When,
    script: String,
}

/// The text behind a key, and the lines below it if it is a block.
fn script(first: &str, rest: &[&str], indent: usize) -> String {
    if first != "|" {
        return first.to_owned();
    }
    let is_inside = |line: &&&str| line.len() - line.trim_start().len() > indent || line.is_empty();
    let lines = rest.iter().take_while(is_inside);
    let lines: Vec<&str> = lines.map(|line| line.trim()).collect();
    lines.join("\n")
}

/// The steps of a workflow of GitHub Actions.
fn github(text: &str) -> Vec<Step> {
    let lines: Vec<&str> = text.lines().collect();
    let mut when = When::AfterSuccess;
    let mut steps = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let key = line.trim().trim_start_matches("- ");
        if key.starts_with("name: ") {
            when = When::AfterSuccess;
        } else if let Some(condition) = key.strip_prefix("if: ") {
            when = match condition {
                "failure()" => When::AfterFailure,
                "always()" => When::Always,
                other => panic!("{other}"),
            };
        } else if let Some(first) = key.strip_prefix("run: ") {
            let script = script(first, &lines[index + 1..], indent);
            steps.push(Step { when, script });
        }
    }
    steps
}

/// The steps of a job of GitLab CI.
fn gitlab(text: &str) -> Vec<Step> {
    let lines: Vec<&str> = text.lines().collect();
    let mut when = None;
    let mut steps = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        match line.trim() {
            "script:" => when = Some(When::AfterSuccess),
            "after_script:" => when = Some(When::Always),
            item => {
                if let (Some(when), Some(first)) = (when, item.strip_prefix("- ")) {
                    let script = script(first, &lines[index + 1..], indent);
                    steps.push(Step { when, script });
                }
            }
        }
    }
    steps
}

/// A service with a canary that waits in the dark, and a pipeline's place to work in.
struct Service {
    _stable: Upstream,
    canary: Upstream,
    proxy: Proxy,
    directory: Directory,
}

impl Service {
    fn start(name: &str) -> Self {
        let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
        let setup = Setup::stable(&stable)
            .route("name = \"checkout\"")
            .route(&format!(
                "canary = {{ version = \"v2\", upstream = \"{}\" }}",
                canary.url()
            ))
            .section(
                "[route.sticky]\nkey = \"header:x-user\"\n\
                 force = { header = \"x-haldane-version\", from = [\"127.0.0.0/8\"] }",
            )
            .section("[route.rollout]\nsteps = [\"0% until promoted\", \"50% for 1s\", \"100%\"]")
            .section(crate::rollout::GATE);
        let directory = Directory::new(&format!("ci-{name}"));
        fs::write(directory.0.join("haldane.toml"), setup.text()).expect("writes");
        Self {
            proxy: setup.start(),
            _stable: stable,
            canary,
            directory,
        }
    }

    fn bash(&self, script: &str, status: &str) -> (i32, String) {
        let binary = Path::new(env!("CARGO_BIN_EXE_haldane"));
        let directory = binary.parent().expect("a directory").display();
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", script])
            .current_dir(&self.directory.0)
            .env_clear()
            .env("PATH", format!("{directory}:/usr/local/bin:/usr/bin:/bin"))
            .env(
                "HALDANE_ADMIN",
                format!("http://{}", self.proxy.admin_address),
            )
            .env("SERVICE_URL", format!("http://{}", self.proxy.address))
            .env("ROUTE", "checkout")
            .env("CI_JOB_STATUS", status)
            .env("GITHUB_STEP_SUMMARY", self.directory.path("report.md"))
            .output()
            .expect("bash runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap_or(-1), said)
    }

    /// Runs a pipeline: the code that its first failing step has ended with, 0 without one.
    fn run(&self, steps: &[Step]) -> i32 {
        let mut failed = 0;
        for step in steps {
            let runs = match step.when {
                When::Always => true,
                When::AfterFailure => failed != 0,
                When::AfterSuccess => failed == 0,
            };
            if !runs {
                continue;
            }
            let status = if failed == 0 { "success" } else { "failed" };
            let (code, said) = self.bash(&step.script, status);
            eprintln!("{}: {code}\n{said}", step.script);
            let is_cleanup = step.when != When::AfterSuccess;
            assert!(code == 0 || !is_cleanup, "{said}");
            if failed == 0 {
                failed = code;
            }
        }
        failed
    }

    /// What the pipeline leaves behind of it.
    fn report(&self) -> String {
        fs::read_to_string(self.directory.path("report.md")).expect("was written")
    }

    fn phase(&self) -> String {
        let path = "/v1/routes/checkout";
        let (_, status) = self.proxy.admin("GET", path, &serde_json::Value::Null);
        status["phase"].as_str().unwrap_or_default().to_owned()
    }
}

fn pipelines() -> [(&'static str, Vec<Step>); 2] {
    [
        ("github", github(&read("deploy/ci/github.yml"))),
        ("gitlab", gitlab(&read("deploy/ci/gitlab-ci.yml"))),
    ]
}

#[test]
fn every_step_of_a_pipeline_is_read() {
    let [(_, github), (_, gitlab)] = pipelines();
    assert_eq!(github.len(), 7, "{github:?}");
    assert_eq!(gitlab.len(), 8, "{gitlab:?}");
}

#[test]
fn a_pipeline_takes_a_healthy_canary_to_all_traffic() {
    for (name, steps) in pipelines() {
        let service = Service::start(&format!("good-{name}"));
        let load = Load::on(&service.proxy);
        assert_eq!(service.run(&steps), 0, "{name}");
        load.end();
        assert_eq!(service.phase(), "promoted", "{name}");
        assert!(
            service.report().contains("generation 1: promoted\n"),
            "{name}"
        );
    }
}

#[test]
fn a_pipeline_ends_with_ten_when_the_canary_was_rolled_back() {
    for (name, steps) in pipelines() {
        let service = Service::start(&format!("bad-{name}"));
        let load = Load::on(&service.proxy);
        std::thread::scope(|scope| {
            // The canary breaks as soon as others than the smoke test get it.
            scope.spawn(|| {
                some("the rollout goes on", || {
                    let events = service.proxy.events(0);
                    let begun = events.iter().any(|event| event["kind"] == "progressed");
                    begun.then_some(())
                });
                service.canary.behave(Behaviour::Status(500));
            });
            assert_eq!(service.run(&steps), 10, "{name}");
        });
        load.end();
        assert_eq!(service.phase(), "rolled_back", "{name}");
        assert!(
            service.report().contains("**v2 was rolled back: errors: "),
            "{name}"
        );
    }
}

#[test]
fn a_pipeline_takes_the_canary_out_when_its_smoke_test_fails() {
    for (name, steps) in pipelines() {
        let service = Service::start(&format!("smoke-{name}"));
        service.canary.behave(Behaviour::Status(500));
        // curl ends so for a status of 400 or above.
        assert_eq!(service.run(&steps), 22, "{name}");
        assert_eq!(service.phase(), "rolled_back", "{name}");
    }
}

#[test]
fn services_in_sequence_stop_at_the_first_that_fails() {
    let services = [
        Service::start("first"),
        Service::start("second"),
        Service::start("third"),
    ];
    for service in &services {
        some("it waits", || {
            (service.phase() == "progressing").then_some(())
        });
    }
    let admins: Vec<_> = services
        .iter()
        .map(|service| format!("http://{}", service.proxy.admin_address))
        .collect();
    services[1].proxy.admin(
        "POST",
        "/v1/routes/checkout/rollback",
        &serde_json::Value::Null,
    );
    let load = Load::on(&services[0].proxy);
    let script = format!(
        "PAUSE=0 {} {}",
        root().join("deploy/ci/in-sequence").display(),
        admins.join(" ")
    );
    let (code, said) = services[0].bash(&script, "success");
    load.end();
    // What is rolled back cannot be promoted.
    assert_eq!(code, 14, "{said}");
    assert_eq!(services[0].phase(), "promoted");
    assert_eq!(services[2].phase(), "progressing", "it was not touched");
}
