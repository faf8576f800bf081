//! What happens to a proxy, one after another, and what has to hold then.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    book::{ALL, Kind},
    certificates::has_serial,
    course::Course,
    proxy::Standing,
};
use crate::{clock, failure::Failure};

/// What happens within the life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    CanaryDown,
    CanaryFails,
    Certificates,
    Clock,
    Cut,
    DiskFull,
    Reload,
    Rollback,
    StableDown,
    Weight,
}

impl Fault {
    pub(crate) const ALL: [Self; 10] = [
        Self::Weight,
        Self::Rollback,
        Self::Reload,
        Self::Cut,
        Self::CanaryDown,
        Self::Certificates,
        Self::StableDown,
        Self::DiskFull,
        Self::CanaryFails,
        Self::Clock,
    ];

    /// Lets it happen, and waits until it is over. False if it cannot be done here.
    pub(crate) async fn happen(self, course: &mut Course) -> Result<bool, Failure> {
        match self {
            Self::CanaryDown => canary_down(course).await?,
            Self::CanaryFails => canary_fails(course).await?,
            Self::Certificates => certificates(course).await?,
            Self::Clock => return clock_steps(course).await,
            Self::Cut => cut(course).await?,
            Self::DiskFull => return disk_full(course).await,
            Self::Reload => reload(course).await?,
            Self::Rollback => rollback(course).await?,
            Self::StableDown => stable_down(course).await?,
            Self::Weight => weight(course).await?,
        }
        course.recover().await?;
        Ok(true)
    }
}

async fn cut(course: &Course) -> Result<(), Failure> {
    let window = course
        .book
        .borrow_mut()
        .open("connections to versions are cut", ALL);
    for _ in 0..3 {
        course.stable.cut();
        course.canary.cut();
        sleep(STEP / 2).await;
    }
    course.settle(window).await;
    Ok(())
}

async fn stable_down(course: &mut Course) -> Result<(), Failure> {
    let window = course.book.borrow_mut().open("stable is killed", ALL);
    course.stable.kill().await;
    sleep(STEP * 2).await;
    course.stable.restart().await?;
    course.settle(window).await;
    Ok(())
}

async fn canary_down(course: &mut Course) -> Result<(), Failure> {
    let window = course.book.borrow_mut().open("the canary is killed", ALL);
    course.canary.kill().await;
    sleep(STEP * 2).await;
    course.canary.restart().await?;
    course.settle(window).await;
    Ok(())
}

/// The gates see a canary that only fails, and take its traffic.
async fn canary_fails(course: &Course) -> Result<(), Failure> {
    let window = course.book.borrow_mut().open("the canary fails", ALL);
    course.canary.fail(true);
    let end = clock::now_ns() + clock::ns(Duration::from_secs(15));
    while !course.site.standing().await?.is_rolled_back() {
        if clock::now_ns() > end {
            course.violate("a canary that only fails is not rolled back");
            break;
        }
        sleep(LOOK).await;
    }
    course.book.borrow_mut().canary_is_closed();
    course.canary.fail(false);
    course.settle(window).await;
    sleep(STEP).await;
    stays_rolled_back(course, None).await
}

/// By command: nothing fails, and nobody is on the canary from the answer on.
async fn rollback(course: &Course) -> Result<(), Failure> {
    let said = course.site.command("rollback").await?;
    course.book.borrow_mut().canary_is_closed();
    if said["changed"] != true || said["persisted"] != true {
        course.violate(format!("a rollback has been answered: {said}"));
    }
    sleep(STEP).await;
    stays_rolled_back(course, None).await
}

async fn stays_rolled_back(course: &Course, before: Option<&Standing>) -> Result<(), Failure> {
    let standing = course.site.standing().await?;
    let is_same = before.is_none_or(|before| standing == *before);
    if !is_same || !standing.is_rolled_back() || standing.weight != "0%" {
        course.violate(format!(
            "the canary was rolled back ({before:?}), and is {standing:?}"
        ));
    }
    Ok(())
}

async fn weight(course: &Course) -> Result<(), Failure> {
    for weight in ["60%", "0.5%", "0%", "100%", "30%"] {
        course.share(weight).await?;
        sleep(STEP / 5).await;
    }
    Ok(())
}

/// One that can be used and one that cannot: neither moves the weight, and nothing fails.
async fn reload(course: &mut Course) -> Result<(), Failure> {
    let before = course.site.standing().await?;
    course.idle_s = 121 - course.idle_s;
    for (more, expected) in [("", 200), ("lisen = 1", 422), ("", 200)] {
        course.site.configure(course.idle_s, more)?;
        let (status, said) = course.site.ask("POST", "/v1/config/reload", None).await?;
        if status != expected {
            course.violate(format!(
                "a reload was answered {status}, not {expected}: {said}"
            ));
        }
        sleep(STEP / 2).await;
    }
    let after = course.site.standing().await?;
    if after != before {
        course.violate(format!("reloads have led from {before:?} to {after:?}"));
    }
    Ok(())
}

/// A good pair is served soon, a bad one never.
async fn certificates(course: &mut Course) -> Result<(), Failure> {
    course.certificates.spoil()?;
    let (status, said) = course.site.ask("POST", "/v1/config/reload", None).await?;
    if status != 422 {
        course.violate(format!("a spoilt key was answered {status}: {said}"));
    }
    sleep(STEP).await;
    course.certificates.replace()?;
    let end = clock::now_ns() + clock::ns(Duration::from_secs(15));
    loop {
        let stream = course.certificates.connect(course.site.tls).await;
        let stream = stream.map_err(Failure::io("connect under TLS"))?;
        if has_serial(&stream, course.certificates.serial) {
            return Ok(());
        }
        if clock::now_ns() > end {
            course.violate("a new certificate is not served");
            return Ok(());
        }
        sleep(LOOK).await;
    }
}

/// Decisions go on, and say that they are not safe.
async fn disk_full(course: &Course) -> Result<bool, Failure> {
    let Some(disk) = &course.disk else {
        return Ok(false);
    };
    disk.fill()?;
    let said = course.site.command("rollback").await?;
    course.book.borrow_mut().canary_is_closed();
    if said["persisted"] != false {
        course.violate(format!(
            "the disk is full, and a rollback was answered: {said}"
        ));
    }
    sleep(STEP).await;
    stays_rolled_back(course, None).await?;
    disk.empty()?;
    course.be_safe().await?;
    stays_rolled_back(course, None).await?;
    course.recover().await?;
    Ok(true)
}

/// The wall clock is set ahead and back while everything goes on.
async fn clock_steps(course: &Course) -> Result<bool, Failure> {
    if course.site.faketime.is_none() {
        return Ok(false);
    }
    let before = course.site.standing().await?;
    for seconds in [HOUR, -HOUR, 0] {
        course.site.set_clock(seconds)?;
        sleep(STEP).await;
    }
    let after = course.site.standing().await?;
    if after != before {
        course.violate(format!("the clock has led from {before:?} to {after:?}"));
    }
    Ok(true)
}

/// What happens between two processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The next one takes over from the one that runs.
    HandOver,
    /// It is killed while the canary has its share.
    Killed,
    /// It is killed after a rollback, and the clock of the next one is an hour ahead.
    KilledAhead,
    /// It is killed after a rollback, and the clock of the next one is an hour back.
    KilledBack,
}

impl Change {
    pub(crate) const ALL: [Self; 4] = [
        Self::HandOver,
        Self::Killed,
        Self::KilledAhead,
        Self::KilledBack,
    ];

    /// Lets it happen: the next process stands where the one before stood.
    pub(crate) async fn happen(self, course: &mut Course) -> Result<(), Failure> {
        match self {
            Self::HandOver => hand_over(course).await?,
            Self::Killed => killed(course, 0).await?,
            Self::KilledAhead | Self::KilledBack => {
                course.site.command("rollback").await?;
                course.book.borrow_mut().canary_is_closed();
                let hour = if self == Self::KilledAhead {
                    HOUR
                } else {
                    -HOUR
                };
                killed(course, hour).await?;
                stays_rolled_back(course, None).await?;
                course.site.set_clock(0)?;
            }
        }
        course.recover().await
    }
}

async fn killed(course: &mut Course, clock_s: i64) -> Result<(), Failure> {
    let before = course.be_safe().await?;
    course.complain_of_panics();
    let window = course.book.borrow_mut().open("haldane is killed", ALL);
    course.process.kill();
    course.site.set_clock(clock_s)?;
    course.process = course.start()?;
    course.site.ready(&mut course.process).await?;
    course.settle(window).await;
    let after = course.site.standing().await?;
    if after != before {
        course.violate(format!("kill -9 has led from {before:?} to {after:?}"));
    }
    sleep(STEP).await;
    Ok(())
}

/// Only sessions end; whatever has an end comes to it.
async fn hand_over(course: &mut Course) -> Result<(), Failure> {
    let before = course.site.standing().await?;
    let window = course
        .book
        .borrow_mut()
        .open("a hand-over", &[Kind::WebSocket]);
    let next = course.start()?;
    let mut last = std::mem::replace(&mut course.process, next);
    let end = clock::now_ns() + clock::ns(Duration::from_secs(40));
    while !last.has_ended() && clock::now_ns() < end {
        sleep(LOOK).await;
    }
    if !last.has_ended() {
        course.violate("the process before does not end");
    }
    for line in last.complaints() {
        course.violate(line);
    }
    course.site.ready(&mut course.process).await?;
    course.settle(window).await;
    let after = course.site.standing().await?;
    if after != before {
        course.violate(format!("a hand-over has led from {before:?} to {after:?}"));
    }
    Ok(())
}

impl Course {
    /// Panics are in the log of the process.
    pub(crate) fn complain_of_panics(&self) {
        for line in self.process.complaints() {
            self.violate(line);
        }
    }
}

const HOUR: i64 = 3600;

/// Long enough for every client to have begun something.
const STEP: Duration = Duration::from_millis(500);

const LOOK: Duration = Duration::from_millis(25);
