//! `soak`: minutes of load on a haldane to which everything happens; any violation is a failure.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde_json::json;
use tokio::task::LocalSet;

use crate::{
    args::Soak,
    child, clock, descriptors,
    failure::Failure,
    report::{Report, Table},
    soak::{
        book::Book,
        course::{Course, Measured},
        faults::{Change, Fault},
    },
};

/// A process from its start to its end.
struct Life {
    seconds: u64,
    rounds: u64,
    /// At rest: after it had warmed up, after the first round, and at last.
    early: Measured,
    late: Measured,
}

/// Runs for about as long as asked, and at least until everything has happened once.
pub(super) fn run(arguments: &Soak) -> Result<(Report, Option<Failure>), Failure> {
    descriptors::raise();
    let program = match &arguments.haldane {
        Some(program) => program.clone(),
        None => beside()?,
    };
    let time = Duration::from_secs_f64(arguments.minutes * 60.0);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::io("start a runtime"))?;
    LocalSet::new().block_on(&runtime, async {
        let mut course = Course::new(program).await?;
        let lives = lives(&mut course, time).await;
        if let Err(failure) = &lives {
            course.process.explain(failure);
        }
        let lives = lives?;
        course.complain_of_panics();
        Ok(report(&course, &lives))
    })
}

fn beside() -> Result<PathBuf, Failure> {
    let program = child::own_program()?.with_file_name("haldane");
    if program.exists() {
        Ok(program)
    } else {
        Err(Failure::Missing(program.display().to_string()))
    }
}

async fn lives(course: &mut Course, time: Duration) -> Result<Vec<Life>, Failure> {
    let count = if time < LONG { 1 } else { 3 };
    let mut lives = Vec::new();
    for _ in 0..count {
        lives.push(life(course, time / count).await?);
        course.run(WARM_UP).await;
        for change in Change::ALL {
            change.happen(course).await?;
            course.check_interrupt()?;
            course.run(BETWEEN).await;
        }
    }
    course.rest(None).await?;
    Ok(lives)
}

async fn life(course: &mut Course, time: Duration) -> Result<Life, Failure> {
    let begun = clock::now_ns();
    let end = begun + clock::ns(time);
    course.run(WARM_UP).await;
    // Files are open from the first event on.
    Fault::Weight.happen(course).await?;
    let mut early = course.rest(None).await?;
    let (mut late, mut rounds) = (early, 0);
    while rounds == 0 || clock::now_ns() < end {
        for fault in Fault::ALL {
            course.run(BETWEEN).await;
            let happened = fault.happen(course).await?;
            course.check_interrupt()?;
            if !happened && rounds == 0 {
                eprintln!("haldane-bench: {fault:?} cannot be done here");
            }
        }
        late = course.rest(Some(early)).await?;
        rounds += 1;
        if rounds == WARM_ROUNDS {
            early.pss_kib = late.pss_kib;
        }
    }
    if rounds > WARM_ROUNDS && late.pss_kib > allowed_kib(early.pss_kib) {
        let (early, late) = (early.pss_kib, late.pss_kib);
        course.violate(format!("memory has grown from {early} KiB to {late} KiB"));
    }
    Ok(Life {
        seconds: (clock::now_ns() - begun) / 1_000_000_000,
        rounds,
        early,
        late,
    })
}

/// What memory may grow to by chance: fragments, and logs of what happened that are bounded but
/// not full yet.
const fn allowed_kib(early_kib: u64) -> u64 {
    early_kib + early_kib / 8 + 3 * 1024
}

fn report(course: &Course, lives: &[Life]) -> (Report, Option<Failure>) {
    let book = course.book.borrow();
    let violations = book.violations();
    let mut notes: Vec<String> = violations
        .iter()
        .map(|what| format!("VIOLATION: {what}"))
        .collect();
    if course.disk.is_none() {
        notes.push("no small disk could be mounted: it was never full".to_owned());
    }
    if course.site.faketime.is_none() {
        notes.push("libfaketime is not there: the clock was never set".to_owned());
    }
    let explained = book.explained();
    let tables = tables(&book, &explained, lives);
    let results = vec![json!({ "violations": violations, "explained": explained })];
    let failure = violations.first().map(|_| {
        Failure::violation(format!(
            "{} things were not as they have to be",
            violations.len()
        ))
    });
    let report = Report {
        verb: "soak",
        notes,
        tables,
        results,
    };
    (report, failure)
}

fn tables(book: &Book, explained: &BTreeMap<&str, u64>, lives: &[Life]) -> Vec<Table> {
    let requests = book.counts().iter().map(|(kind, count)| {
        let [stable, canary] = count.answered;
        let numbers = [stable, canary, count.failed, count.given_up];
        let name = vec![format!("{kind:?}")];
        name.into_iter()
            .chain(numbers.map(|number| number.to_string()))
            .collect()
    });
    let faults = explained
        .iter()
        .map(|(fault, failed)| vec![(*fault).to_owned(), failed.to_string()]);
    let processes = lives.iter().map(|life| {
        vec![
            life.seconds.to_string(),
            life.rounds.to_string(),
            life.early.pss_kib.to_string(),
            life.late.pss_kib.to_string(),
            life.early.descriptors.to_string(),
            life.late.descriptors.to_string(),
        ]
    });
    vec![
        table(
            "requests",
            &["kind", "stable", "canary", "failed", "given up"],
            requests.collect(),
        ),
        table(
            "failures that a fault explains",
            &["fault", "requests"],
            faults.collect(),
        ),
        table(
            "processes at rest, PSS in KiB",
            &[
                "seconds",
                "rounds",
                "PSS early",
                "late",
                "fds early",
                "late",
            ],
            processes.collect(),
        ),
    ]
}

fn table(title: &str, columns: &[&str], rows: Vec<Vec<String>>) -> Table {
    Table {
        title: title.to_owned(),
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        rows,
    }
}

/// Before what a process holds is compared.
const WARM_UP: Duration = Duration::from_secs(2);

/// After so many rounds memory is not to grow any more.
const WARM_ROUNDS: u64 = 2;

/// Between two faults.
const BETWEEN: Duration = Duration::from_millis(300);

/// From here on there are several lives.
const LONG: Duration = Duration::from_secs(120);
