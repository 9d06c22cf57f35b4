//! The open windows of one window actor.

mod hottest;

use std::{
    collections::{BTreeMap, BTreeSet, hash_map::Entry},
    mem,
    sync::Arc,
};

use rustc_hash::FxHashMap;

pub use hottest::OpenWindow;

use super::{
    CountedEvent, EpochDelta, Evidence, OpenWindows, StateChange, WindowKey, WindowState,
    evidence::EvidenceLimit,
    frame::{Frame, Run},
    services::{ServiceId, Services},
};
use crate::{
    RuleId, TimestampMs,
    alert::{Alert, AlertPhase},
    rules::Rule,
};

/// The open windows of some services, for all rules.
#[derive(Debug)]
pub struct Windows {
    rules: Vec<RuleWindows>,
    services: Services,
    /// What a window remembers of counted events.
    evidence: EvidenceLimit,
    /// As of the last cut: what is late is decided against it.
    watermark: Option<TimestampMs>,
    /// Number of open windows, which are part of the shared number.
    len: usize,
    open: Arc<OpenWindows>,
    /// Windows that changed since the last cut, each once.
    dirty: Vec<(RuleId, TimestampMs, ServiceId)>,
    /// Windows of the store that no rule claims; the next cut deletes them.
    given_up: BTreeSet<WindowKey>,
    /// What the next cut hands over, as far as it is known.
    delta: EpochDelta,
}

/// The open windows of one rule.
#[derive(Debug)]
struct RuleWindows {
    name: Arc<str>,
    frame: Frame,
    threshold: u64,
    emit_crossed: bool,
    emit_closed: bool,
    /// By start, which is also the order in which they close.
    by_start: BTreeMap<TimestampMs, FxHashMap<ServiceId, Window>>,
}

#[derive(Debug)]
struct Window {
    state: WindowState,
    /// The store knows it, so its end is a change.
    stored: bool,
    /// It is among those that changed.
    dirty: bool,
}

impl Windows {
    /// No windows yet. `evidence` is the number of counted events that a window remembers.
    #[must_use]
    pub fn new(
        rules: Arc<[Rule]>,
        allowed_lateness_ms: i64,
        evidence: usize,
        open: Arc<OpenWindows>,
    ) -> Self {
        let rules: Vec<_> = rules.iter().map(|rule| RuleWindows::new(rule, allowed_lateness_ms)).collect();
        Self {
            delta: EpochDelta::empty(rules.len()),
            rules,
            services: Services::default(),
            evidence: EvidenceLimit { events: evidence, ..EvidenceLimit::default() },
            watermark: None,
            len: 0,
            open,
            dirty: Vec::new(),
            given_up: BTreeSet::new(),
        }
    }

    /// Number of open windows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no window is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sets the watermark of the last committed epoch. For recovery, before any event.
    pub fn restore_watermark(&mut self, watermark: Option<TimestampMs>) {
        self.watermark = watermark;
    }

    /// Sets how much room a window has for what it remembers, so that its alert and its state fit their topics. For
    /// recovery, before any event and any window.
    pub fn limit_evidence(&mut self, bytes: usize, bytes_per_event: usize) {
        self.evidence = EvidenceLimit { bytes, bytes_per_event, ..self.evidence };
    }

    /// Puts a window back as the store has it; the limit on open windows does not apply.
    ///
    /// Returns false if it fits no rule any more, because the rule is gone or its length or slide is another
    /// one. Such a window is given up: its deletion is among the next cut's changes.
    pub fn restore(&mut self, key: WindowKey, mut state: WindowState) -> bool {
        let fits = |rule: &RuleWindows| {
            rule.name == key.rule
                && rule.frame.length_ms == state.window_ms
                && rule.frame.has_start(key.start)
        };
        let Some(index) = self.rules.iter().position(fits) else {
            self.given_up.insert(key);
            return false;
        };
        state.evidence.truncate(self.evidence.fitting(&state.evidence));
        let id = self.services.get_or_insert(&key.service);
        let window = Window { state, stored: true, dirty: false };
        let former = self.rules[index].by_start.entry(key.start).or_default().insert(id, window);
        if former.is_none() {
            self.services.opened(id);
            self.open.opened();
            self.len += 1;
        }
        true
    }

    /// Counts events of one service that match this rule, in the given order.
    ///
    /// Returns true if a window crossed the threshold and the rule writes that: the epoch should be cut soon.
    ///
    /// # Panics
    /// There is no such rule.
    pub fn count<'a>(
        &mut self,
        rule: RuleId,
        service: &str,
        events: impl Iterator<Item = CountedEvent<'a>> + Clone,
    ) -> bool {
        let alerts_before = self.delta.alerts.len();
        let mut rest = events;
        while let Some(run) = Run::at_beginning(rest.clone(), self.rules[rule.0].frame) {
            self.count_run(rule, service, &run);
            rest.nth(run.len - 1);
        }
        self.delta.alerts.len() > alerts_before
    }

    /// Counts a run in each of its windows.
    fn count_run<'a, I>(&mut self, rule: RuleId, service: &str, run: &Run<I>)
    where
        I: Iterator<Item = CountedEvent<'a>> + Clone,
    {
        let frame = self.rules[rule.0].frame;
        let mut starts = frame.starts(run.first).peekable();
        while starts.next_if(|start| frame.is_closed(*start, self.watermark)).is_some() {
            self.delta.late[rule.0] += run.len as u64;
        }
        if starts.peek().is_none() {
            return;
        }
        if self.services.get(service).is_none() && !self.open.has_room() {
            self.delta.overflow += run.len as u64;
            return;
        }
        let id = self.services.get_or_insert(service);
        for start in starts {
            self.count_in_window(rule, start, id, run);
        }
    }

    /// Counts a run in one window, which is opened if need be.
    fn count_in_window<'a, I>(&mut self, index: RuleId, start: TimestampMs, id: ServiceId, run: &Run<I>)
    where
        I: Iterator<Item = CountedEvent<'a>> + Clone,
    {
        let rule = &mut self.rules[index.0];
        let window = match rule.by_start.entry(start).or_default().entry(id) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                self.services.opened(id);
                self.open.opened();
                self.len += 1;
                entry.insert(Window::new(rule.frame.length_ms, run.first))
            }
        };
        if !mem::replace(&mut window.dirty, true) {
            self.dirty.push((index, start, id));
        }
        if window.takes_in_bulk(run.len, rule.threshold, self.evidence) {
            window.count_in_bulk(run);
            return;
        }
        for event in run.events() {
            let crossed = window.count(&event, rule.threshold, self.evidence);
            if crossed && rule.emit_crossed {
                let service = Arc::clone(self.services.name(id));
                let appended_at = Some(event.append_time);
                let end = rule.frame.end(start);
                self.delta.alerts.push(Alert {
                    appended_at,
                    ..window.alert(index, AlertPhase::Crossed, service, start, end)
                });
            }
        }
    }

    /// Ends an epoch: moves the watermark on, closes the windows behind it, and hands over what the epoch
    /// brought. The watermark never goes back.
    pub fn seal(&mut self, watermark: Option<TimestampMs>) -> EpochDelta {
        self.watermark = self.watermark.max(watermark);
        let mut closed = Vec::new();
        for rule in (0..self.rules.len()).map(RuleId) {
            self.close(rule, &mut closed);
        }
        closed.sort_by(|a, b| (a.window_end, a.rule, &a.service).cmp(&(b.window_end, b.rule, &b.service)));
        self.delta.alerts.append(&mut closed);
        self.put_dirty();
        self.delta.changes.extend(mem::take(&mut self.given_up).into_iter().map(StateChange::Delete));
        mem::replace(&mut self.delta, EpochDelta::empty(self.rules.len()))
    }

    /// Closes the rule's windows behind the watermark, and adds their alerts to `closed`.
    fn close(&mut self, index: RuleId, closed: &mut Vec<Alert>) {
        let rule = &mut self.rules[index.0];
        while let Some(first) = rule.by_start.first_entry()
            && rule.frame.is_closed(*first.key(), self.watermark)
        {
            let (start, windows) = first.remove_entry();
            self.len -= windows.len();
            self.open.closed(windows.len());
            for (id, window) in windows {
                let service = Arc::clone(self.services.name(id));
                self.services.closed(id);
                if rule.emit_closed && window.state.count > rule.threshold {
                    let end = rule.frame.end(start);
                    closed.push(window.alert(index, AlertPhase::Closed, Arc::clone(&service), start, end));
                }
                if window.stored {
                    let key = WindowKey { rule: Arc::clone(&rule.name), service, start };
                    self.delta.changes.push(StateChange::Delete(key));
                }
            }
        }
    }

    /// Adds the windows to the changes that are open and not as they were at the cut before.
    fn put_dirty(&mut self) {
        for (index, start, id) in self.dirty.drain(..) {
            let rule = &mut self.rules[index.0];
            // Closed ones are gone: the store loses them, or never knew them.
            let Some(window) = rule.by_start.get_mut(&start).and_then(|windows| windows.get_mut(&id)) else {
                continue;
            };
            window.dirty = false;
            window.stored = true;
            let service = Arc::clone(self.services.name(id));
            let key = WindowKey { rule: Arc::clone(&rule.name), service, start };
            // A window of a former length may have had the same key: one change is enough.
            self.given_up.remove(&key);
            self.delta.changes.push(StateChange::Put(key, window.state.clone()));
        }
    }
}

impl Drop for Windows {
    /// Gives the open windows back to the shared number.
    fn drop(&mut self) {
        self.open.closed(self.len);
    }
}

impl RuleWindows {
    fn new(rule: &Rule, allowed_lateness_ms: i64) -> Self {
        Self {
            name: rule.name.as_str().into(),
            frame: Frame::new(rule, allowed_lateness_ms),
            threshold: rule.threshold,
            emit_crossed: rule.emit_crossed,
            emit_closed: rule.emit_closed,
            by_start: BTreeMap::new(),
        }
    }
}

impl Window {
    /// A window that `first` is about to be counted in.
    fn new(window_ms: i64, first: TimestampMs) -> Self {
        let state = WindowState {
            window_ms,
            count: 0,
            first_event_at: first,
            last_event_at: first,
            crossed: false,
            evidence: Vec::new(),
        };
        Self { state, stored: false, dirty: false }
    }

    /// Whether the next event counted is evidence: the first ones are, and if a former configuration
    /// remembered fewer, later ones are not in their place.
    fn takes_evidence(&self, evidence: EvidenceLimit) -> bool {
        let remembered = self.state.evidence.len();
        remembered < evidence.events && remembered as u64 == self.state.count
    }

    /// Whether `events` more change nothing but the count and the times.
    fn takes_in_bulk(&self, events: usize, threshold: u64, evidence: EvidenceLimit) -> bool {
        let cannot_cross = self.state.crossed || self.state.count + events as u64 <= threshold;
        cannot_cross && !self.takes_evidence(evidence)
    }

    fn count_in_bulk<I>(&mut self, run: &Run<I>) {
        self.state.count += run.len as u64;
        self.state.first_event_at = self.state.first_event_at.min(run.lowest);
        self.state.last_event_at = self.state.last_event_at.max(run.highest);
    }

    /// Counts one event; returns true if the threshold was passed by it.
    fn count(&mut self, event: &CountedEvent<'_>, threshold: u64, evidence: EvidenceLimit) -> bool {
        if self.takes_evidence(evidence) && evidence.has_room(&self.state.evidence, event.user_id) {
            self.state.evidence.push(Evidence {
                partition: event.partition,
                offset: event.offset,
                user_id: event.user_id.map(Box::from),
                timestamp: event.timestamp,
            });
        }
        self.state.count += 1;
        self.state.first_event_at = self.state.first_event_at.min(event.timestamp);
        self.state.last_event_at = self.state.last_event_at.max(event.timestamp);
        let crosses = !self.state.crossed && self.state.count > threshold;
        self.state.crossed |= crosses;
        crosses
    }

    /// An alert about the window as it is.
    fn alert(
        &self,
        rule: RuleId,
        phase: AlertPhase,
        service: Arc<str>,
        window_start: TimestampMs,
        window_end: TimestampMs,
    ) -> Alert {
        Alert {
            rule,
            phase,
            service,
            window_start,
            window_end,
            count: self.state.count,
            first_event_at: self.state.first_event_at,
            last_event_at: self.state.last_event_at,
            evidence: self.state.evidence.clone(),
            appended_at: None,
        }
    }
}
