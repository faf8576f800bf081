//! What the screen shows, and what keys do to it.

use std::collections::VecDeque;

use super::feed::Told;
use super::lines::is_about;
use crate::cli::happened::EventView;
use crate::cli::view::{RouteView, Routes};

/// So many events fit on the largest screen.
const EVENTS_MAX: usize = 200;

/// Everything that is shown.
#[derive(Debug, Default)]
pub(super) struct Board {
    /// Where it comes from.
    pub(super) admin: String,
    /// The only route that is looked at, if it is one.
    pub(super) asked: Option<String>,
    pub(super) routes: Vec<RouteView>,
    /// The name of the route that is shown in full.
    selected: String,
    /// The newest first.
    pub(super) events: VecDeque<EventView>,
    /// Why there is no connection, and for how many seconds.
    pub(super) lost: Option<(String, u64)>,
    /// What must be confirmed.
    pub(super) question: Option<Command>,
    /// What became of the last command.
    pub(super) message: Option<String>,
}

/// A command to a route.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Command {
    /// `pause`, `resume` or `rollback`, as the API names it.
    pub(super) verb: &'static str,
    pub(super) route: String,
}

/// A key that has a meaning, or any other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Key {
    /// Pause, or go on.
    Hold,
    Next,
    Other,
    Previous,
    Quit,
    Rollback,
    Yes,
}

/// What a key asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Effect {
    None,
    Quit,
    Send(Command),
}

impl Board {
    /// Nothing is known yet.
    pub(super) fn new(admin: String, asked: Option<String>) -> Self {
        Self {
            admin,
            asked,
            ..Self::default()
        }
    }

    /// A second has gone by.
    pub(super) fn tick(&mut self) {
        if let Some((_, seconds)) = &mut self.lost {
            *seconds += 1;
        }
    }

    pub(super) fn told(&mut self, told: Told) {
        match told {
            Told::Back => self.lost = None,
            Told::Happened(data) => {
                if let Ok(event) = serde_json::from_str::<EventView>(&data)
                    && is_about(self.asked.as_deref(), event.route())
                {
                    self.events.push_front(event);
                    self.events.truncate(EVENTS_MAX);
                }
            }
            Told::Lost(why) => self.lost = Some((why, 0)),
            Told::Restarted => self.events.clear(),
            Told::Status(data) => {
                if let Ok(routes) = serde_json::from_str::<Routes>(&data) {
                    self.stands(routes);
                }
            }
        }
    }

    /// Every route as it stands now.
    pub(super) fn stands(&mut self, routes: Routes) {
        self.routes = routes.into_routes();
        self.routes
            .retain(|route| is_about(self.asked.as_deref(), Some(&route.route)));
    }

    /// The place of the route that is shown in full, among all; the first if it is gone.
    pub(super) fn selected(&self) -> usize {
        let is_selected = |route: &RouteView| route.route == self.selected;
        self.routes.iter().position(is_selected).unwrap_or(0)
    }

    /// What `p` does to the route that is shown, if it is legal.
    pub(super) fn hold(&self) -> Option<&'static str> {
        ["pause", "resume"]
            .into_iter()
            .find(|verb| self.is_legal(verb))
    }

    pub(super) fn is_legal(&self, verb: &str) -> bool {
        let route = self.routes.get(self.selected());
        route.is_some_and(|route| route.commands.iter().any(|command| command == verb))
    }

    pub(super) fn press(&mut self, key: Key) -> Effect {
        if key == Key::Quit && self.question.is_none() {
            return Effect::Quit;
        }
        self.message = None;
        if let Some(command) = self.question.take() {
            return match key {
                Key::Yes => Effect::Send(command),
                _ => Effect::None,
            };
        }
        match key {
            Key::Hold => self.question = self.hold().and_then(|verb| self.command(verb)),
            Key::Next => self.select(1),
            Key::Other | Key::Quit | Key::Yes => {}
            Key::Previous => self.select(self.routes.len().saturating_sub(1)),
            Key::Rollback => {
                let is_legal = self.is_legal("rollback");
                self.question = is_legal.then(|| self.command("rollback")).flatten();
            }
        }
        Effect::None
    }

    fn command(&self, verb: &'static str) -> Option<Command> {
        let route = self.routes.get(self.selected())?.route.clone();
        Some(Command { verb, route })
    }

    fn select(&mut self, steps: usize) {
        let place = (self.selected() + steps) % self.routes.len().max(1);
        if let Some(route) = self.routes.get(place) {
            self.selected.clone_from(&route.route);
        }
    }
}
