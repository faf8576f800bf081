//! The screen: a pure function of the board, for terminals of any size.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::board::Board;
use super::standing;
use crate::cli::happened::{EventView, date};
use crate::cli::output::harmless;
use crate::cli::status::{failures, time, versions};
use crate::cli::view::{GateView, RolloutView, RouteView};

/// So many cells has a bar.
const BAR: usize = 16;

/// Below this height, keys are not shown unless there is a question.
const HEIGHT_WITH_KEYS: u16 = 6;

/// Whether there are colours; what matters is shown without them too.
#[derive(Clone, Copy, Debug)]
pub(super) enum Palette {
    Colored,
    Plain,
}

impl Palette {
    fn of(self, color: Color) -> Style {
        match self {
            Self::Colored => Style::new().fg(color),
            Self::Plain => Style::new(),
        }
    }

    fn bad(self) -> Style {
        self.of(Color::Red).add_modifier(Modifier::BOLD)
    }

    fn verdict(self, verdict: &str) -> Style {
        match verdict {
            "fail" => self.bad(),
            "pass" => self.of(Color::Green),
            _ => self.of(Color::Yellow),
        }
    }

    fn severity(self, severity: &str) -> Style {
        match severity {
            "critical" => self.bad(),
            "warning" => self.of(Color::Yellow),
            _ => Style::new(),
        }
    }

    fn phase(self, phase: &str) -> Style {
        match phase {
            "paused" | "rolled_back" => self.bad(),
            _ => Style::new().add_modifier(Modifier::BOLD),
        }
    }
}

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, board: &Board, palette: Palette) {
    let area = frame.area();
    let footer = footer(board, area, palette);
    let footed = u16::try_from(footer.len())
        .unwrap_or(area.height)
        .min(area.height);
    let above = Rect {
        height: area.height - footed,
        ..area
    };
    let below = Rect {
        y: area.y + above.height,
        height: footed,
        ..area
    };
    frame.render_widget(Paragraph::new(body(board, above, palette)), above);
    frame.render_widget(Paragraph::new(footer), below);
}

fn body(board: &Board, area: Rect, palette: Palette) -> Vec<Line<'static>> {
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    let mut lines = Vec::new();
    if let Some((why, seconds)) = &board.lost {
        let lost = format!("no connection for {seconds}s, tried again every second: {why}");
        lines.extend(wrapped(&lost, width, palette.bad()));
    }
    lines.extend(others(board, height, palette));
    let Some(route) = board.routes.get(board.selected()) else {
        lines.push(plain("there is no route"));
        return lines;
    };
    let sentence = format!("{}: {}", route.route, standing::sentence(route));
    lines.extend(wrapped(&sentence, width, palette.phase(&route.phase)));
    if let Some(waits_for) = &route.waits_for {
        lines.extend(wrapped(
            &format!("waits for {waits_for}"),
            width,
            Style::new(),
        ));
    }
    if route.versions.canary.is_some() {
        lines.push(plain(&format!(
            "weight {} {}, generation {}",
            bar(percent(&route.weight) / 100.0),
            route.weight,
            route.generation
        )));
        lines.extend(route.rollout.as_ref().map(plan));
    }
    lines.push(Line::default());
    lines.extend(table(route));
    if !route.gates.is_empty() && route.versions.canary.is_some() {
        lines.push(Line::default());
        for gate in &route.gates {
            lines.extend(gate_lines(gate, width, palette));
        }
    }
    if !route.commands.is_empty() && route.versions.canary.is_some() {
        let legal = format!("legal now: {}", route.commands.join(", "));
        lines.push(Line::default());
        lines.extend(wrapped(&legal, width, Style::new()));
    }
    if !board.events.is_empty() {
        lines.push(Line::default());
        let room = height.saturating_sub(lines.len());
        lines.extend(
            board
                .events
                .iter()
                .take(room)
                .map(|event| happened(event, palette)),
        );
    }
    lines
}

/// All routes, one line each, where there are several: those around the selected one.
fn others(board: &Board, height: usize, palette: Palette) -> Vec<Line<'static>> {
    if board.routes.len() < 2 {
        return Vec::new();
    }
    let room = (height / 3).clamp(1, board.routes.len());
    let selected = board.selected();
    let first = selected
        .saturating_sub(room / 2)
        .min(board.routes.len() - room);
    let shown = board.routes.iter().enumerate().skip(first).take(room);
    let mut lines: Vec<Line<'static>> = shown
        .map(|(place, route)| {
            let mark = if place == selected { "> " } else { "  " };
            let name = format!("{mark}{}: ", harmless(&route.route));
            let sentence = standing::sentence(route);
            let sentence = harmless(&sentence).into_owned();
            Line::from(vec![
                Span::raw(name),
                Span::styled(sentence, palette.phase(&route.phase)),
            ])
        })
        .collect();
    lines.push(Line::default());
    lines
}

/// Which step it is at, and how much of its hold is over.
fn plan(rollout: &RolloutView) -> Line<'static> {
    let mut text = format!("step {}/{}", rollout.step, rollout.steps.len());
    let place = usize::try_from(rollout.step).unwrap_or(usize::MAX);
    let step = place
        .checked_sub(1)
        .and_then(|place| rollout.steps.get(place));
    if let Some(step) = step {
        let held = [
            (rollout.held_seconds, step.hold_seconds),
            (count(rollout.requests), count(step.hold_requests)),
        ];
        let parts = held.into_iter().filter(|(_, hold)| *hold > 0.0);
        let over = parts.map(|(held, hold)| held / hold).fold(1.0, f64::min);
        if step.until_promoted {
            text.push_str(" until promoted");
        } else if step.hold_seconds > 0.0 || step.hold_requests > 0 {
            text.push_str(&format!(" {}", bar(over)));
        }
        if step.hold_seconds > 0.0 {
            text.push_str(&format!(
                " {:.0}s of {:.0}s",
                rollout.held_seconds, step.hold_seconds
            ));
        }
        if step.hold_requests > 0 {
            text.push_str(&format!(
                " {} of {} requests",
                rollout.requests, step.hold_requests
            ));
        }
    }
    text.push_str(", plan");
    for (index, step) in rollout.steps.iter().enumerate() {
        let is_here = index + 1 == place;
        text.push_str(&match is_here {
            true => format!(" [{}]", step.weight),
            false => format!(" {}", step.weight),
        });
    }
    plain(&text)
}

fn table(route: &RouteView) -> Vec<Line<'static>> {
    let mut rows =
        vec![["", "version", "requests", "failures", "p50", "p95", "p99"].map(str::to_owned)];
    rows.extend(versions(route).map(|(role, version)| {
        let times = &version.ttfb_seconds;
        [
            role.to_owned(),
            harmless(&version.version).into_owned(),
            version.requests.to_string(),
            failures(version),
            time(times.p50),
            time(times.p95),
            time(times.p99),
        ]
    }));
    let widest = |column: usize| rows.iter().map(|row| width_of(&row[column])).max();
    let widths: Vec<usize> = (0..7).map(|column| widest(column).unwrap_or(0)).collect();
    let lines = rows.iter().enumerate().map(|(index, row)| {
        let mut text = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let space = " ".repeat(width.saturating_sub(width_of(cell)));
            // Names to the left, numbers to the right.
            text.push_str(&match column {
                0 => format!("{cell}{space}"),
                1 => format!("  {cell}{space}"),
                _ => format!("  {space}{cell}"),
            });
        }
        let style = if index == 0 {
            Modifier::DIM
        } else {
            Modifier::empty()
        };
        Line::styled(text, style)
    });
    lines.collect()
}

/// Its verdict, how far the evidence against the canary has grown, and its sentence.
fn gate_lines(gate: &GateView, width: usize, palette: Palette) -> Vec<Line<'static>> {
    let head = vec![
        Span::styled(
            format!("{:<12}", harmless(&gate.verdict)),
            palette.verdict(&gate.verdict),
        ),
        Span::raw(" evidence "),
        Span::raw(bar(gate.evidence.unwrap_or_default())),
        Span::raw(" "),
    ];
    let used: usize = head.iter().map(Span::width).sum();
    let sentence = harmless(&gate.sentence);
    // Beside the bar if it fits, else below.
    if used + width_of(&sentence) <= width {
        let mut line = Line::from(head);
        line.push_span(Span::raw(sentence.into_owned()));
        return vec![line];
    }
    let mut lines = vec![Line::from(head)];
    lines[0].push_span(Span::raw(harmless(&gate.name).into_owned()));
    lines.extend(wrapped(&format!("  {sentence}"), width, Style::new()));
    lines
}

fn happened(event: &EventView, palette: Palette) -> Line<'static> {
    let sentence = event.sentence();
    Line::from(vec![
        // The time of day; whoever looks on knows which day it is.
        Span::styled(
            date(event.at()).get(11..19).unwrap_or_default().to_owned(),
            Modifier::DIM,
        ),
        Span::raw(" "),
        Span::styled(
            harmless(&sentence).into_owned(),
            palette.severity(event.severity()),
        ),
    ])
}

fn footer(board: &Board, area: Rect, palette: Palette) -> Vec<Line<'static>> {
    let width = usize::from(area.width);
    if let Some(command) = &board.question {
        let what = match command.verb {
            "rollback" => "roll back",
            verb => verb,
        };
        let question = format!("{what} {}? y: yes, any other key: no", command.route);
        return wrapped(&question, width, palette.bad());
    }
    let mut lines = Vec::new();
    if let Some(message) = &board.message {
        lines.extend(wrapped(
            message,
            width,
            Style::new().add_modifier(Modifier::BOLD),
        ));
    }
    if area.height < HEIGHT_WITH_KEYS {
        return lines;
    }
    let mut keys = "q quit".to_owned();
    if board.routes.len() > 1 {
        keys.push_str("  tab route");
    }
    if board.is_legal("rollback") {
        keys.push_str("  r roll back");
    }
    if let Some(verb) = board.hold() {
        keys.push_str(&format!("  p {verb}"));
    }
    keys.push_str(&format!("  {}", harmless(&board.admin)));
    lines.push(Line::styled(keys, Modifier::DIM));
    lines
}

/// Lines of at most this width, broken between words where that is possible.
fn wrapped(text: &str, width: usize, style: Style) -> Vec<Line<'static>> {
    let text = harmless(text);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_inclusive(' ') {
        let long = width_of(word.trim_end());
        if used > 0 && used + long > width {
            lines.push(String::new());
            used = 0;
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(word);
        }
        used += width_of(word);
    }
    let lines = lines.into_iter().map(|line| Line::styled(line, style));
    lines.collect()
}

fn plain(text: &str) -> Line<'static> {
    Line::raw(harmless(text).into_owned())
}

/// How many cells a text takes.
fn width_of(text: &str) -> usize {
    Span::raw(text).width()
}

/// A share as a bar; beyond 1 it is full.
fn bar(share: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "it is between 0 and the number of cells"
    )]
    let full = (share.clamp(0.0, 1.0) * BAR as f64).round() as usize;
    let full = full.min(BAR);
    format!("{}{}", "█".repeat(full), "░".repeat(BAR - full))
}

/// A weight of the API in percent.
fn percent(weight: &str) -> f64 {
    weight.trim_end_matches('%').parse().unwrap_or(0.0)
}

#[expect(clippy::cast_precision_loss, reason = "a bar has few cells")]
fn count(requests: u64) -> f64 {
    requests as f64
}

#[cfg(test)]
mod tests;
