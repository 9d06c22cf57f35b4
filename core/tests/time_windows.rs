//! Windows against a naive model that keeps every event, with a restart from the stored state at any cut.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proptest::prelude::*;
use tidegate_core::{
    PartitionId, RuleId, TimestampMs,
    alert::{Alert, AlertPhase},
    rules::Rule,
    window::{CountedEvent, EpochDelta, Evidence, OpenWindows, StateChange, WindowKey, WindowState, Windows},
};

/// An event that was given to the windows.
#[derive(Debug, Clone)]
struct Given {
    epoch: usize,
    rule: usize,
    service: String,
    timestamp: i64,
    offset: i64,
}

impl Given {
    fn event(&self) -> CountedEvent<'static> {
        CountedEvent {
            timestamp: TimestampMs(self.timestamp),
            partition: PartitionId(3),
            offset: self.offset,
            user_id: (self.offset % 2 == 0).then_some("user"),
            append_time: TimestampMs(self.offset + 1_000),
        }
    }

    fn evidence(&self) -> Evidence {
        let CountedEvent { partition, offset, user_id, timestamp, .. } = self.event();
        Evidence { partition, offset, user_id: user_id.map(Box::from), timestamp }
    }
}

/// Computes what each epoch must bring from all events ever given.
struct Model {
    rules: Arc<[Rule]>,
    allowed_lateness_ms: i64,
    evidence: usize,
    given: Vec<Given>,
    /// The watermark that each epoch was sealed with; it never goes back.
    watermarks: Vec<Option<i64>>,
}

/// Every window that any event belongs to: rule, service, start.
type Candidate = (usize, String, i64);

impl Model {
    fn is_closed(&self, rule: usize, start: i64, watermark: Option<i64>) -> bool {
        watermark.is_some_and(|watermark| {
            start + self.rules[rule].window_ms + self.allowed_lateness_ms <= watermark
        })
    }

    /// The watermark that lateness is decided against in an epoch.
    fn watermark_during(&self, epoch: usize) -> Option<i64> {
        if epoch == 0 { None } else { self.watermarks[epoch - 1] }
    }

    fn candidates(&self) -> BTreeSet<Candidate> {
        let mut candidates = BTreeSet::new();
        for given in &self.given {
            let rule = &self.rules[given.rule];
            let mut start = 0;
            while start <= given.timestamp {
                if given.timestamp < start + rule.window_ms {
                    candidates.insert((given.rule, given.service.clone(), start));
                }
                start += rule.slide_ms;
            }
        }
        candidates
    }

    /// Events of a window up to an epoch, late ones included.
    fn members(&self, (rule, service, start): &Candidate, epoch: usize) -> impl Iterator<Item = &Given> {
        let window = *start..*start + self.rules[*rule].window_ms;
        self.given.iter().filter(move |given| {
            given.epoch <= epoch
                && given.rule == *rule
                && given.service == *service
                && window.contains(&given.timestamp)
        })
    }

    fn counted(&self, window: &Candidate, epoch: usize) -> Vec<&Given> {
        let in_time =
            |given: &&Given| !self.is_closed(window.0, window.2, self.watermark_during(given.epoch));
        self.members(window, epoch).filter(in_time).collect()
    }

    fn state(&self, rule: usize, counted: &[&Given]) -> WindowState {
        let times = || counted.iter().map(|given| TimestampMs(given.timestamp));
        WindowState {
            window_ms: self.rules[rule].window_ms,
            count: counted.len() as u64,
            first_event_at: times().min().unwrap(),
            last_event_at: times().max().unwrap(),
            crossed: counted.len() as u64 > self.rules[rule].threshold,
            evidence: counted.iter().take(self.evidence).map(|given| given.evidence()).collect(),
        }
    }

    fn alert(
        &self,
        window: &Candidate,
        phase: AlertPhase,
        counted: &[&Given],
        appended_at: Option<TimestampMs>,
    ) -> Alert {
        let state = self.state(window.0, counted);
        Alert {
            rule: RuleId(window.0),
            phase,
            service: window.1.as_str().into(),
            window_start: TimestampMs(window.2),
            window_end: TimestampMs(window.2 + self.rules[window.0].window_ms),
            count: state.count,
            first_event_at: state.first_event_at,
            last_event_at: state.last_event_at,
            evidence: state.evidence,
            appended_at,
        }
    }

    /// Alerts of one epoch: those that cross in any order, then those that close in theirs.
    fn alerts(&self, epoch: usize) -> (Vec<Alert>, Vec<Alert>) {
        let (mut crossed, mut closed) = (Vec::new(), Vec::new());
        for window in self.candidates() {
            let rule = &self.rules[window.0];
            let counted = self.counted(&window, epoch);
            let Some(crossing) = counted.get(rule.threshold as usize) else { continue };
            if rule.emit_crossed && crossing.epoch == epoch {
                let appended_at = Some(crossing.event().append_time);
                let so_far = &counted[..=rule.threshold as usize];
                crossed.push(self.alert(&window, AlertPhase::Crossed, so_far, appended_at));
            }
            let closes = !self.is_closed(window.0, window.2, self.watermark_during(epoch))
                && self.is_closed(window.0, window.2, self.watermarks[epoch]);
            if rule.emit_closed && closes {
                closed.push(self.alert(&window, AlertPhase::Closed, &counted, None));
            }
        }
        closed.sort_by_key(|alert| (alert.window_end, alert.rule, alert.service.clone()));
        (crossed, closed)
    }

    fn late(&self, epoch: usize) -> Vec<u64> {
        let mut late = vec![0; self.rules.len()];
        for window in self.candidates() {
            if self.is_closed(window.0, window.2, self.watermark_during(epoch)) {
                let of_epoch = self.members(&window, epoch).filter(|given| given.epoch == epoch);
                late[window.0] += of_epoch.count() as u64;
            }
        }
        late
    }

    /// The windows that are open after an epoch.
    fn open(&self, epoch: usize) -> BTreeMap<WindowKey, WindowState> {
        let mut open = BTreeMap::new();
        for window in self.candidates() {
            let counted = self.counted(&window, epoch);
            if !counted.is_empty() && !self.is_closed(window.0, window.2, self.watermarks[epoch]) {
                let rule = self.rules[window.0].name.as_str().into();
                let key = WindowKey { rule, service: window.1.as_str().into(), start: TimestampMs(window.2) };
                open.insert(key, self.state(window.0, &counted));
            }
        }
        open
    }
}

/// Applies an epoch's changes; each must be one.
fn apply(store: &mut BTreeMap<WindowKey, WindowState>, changes: &[StateChange]) {
    let mut changed = BTreeSet::new();
    for change in changes {
        let (StateChange::Put(key, _) | StateChange::Delete(key)) = change;
        assert!(changed.insert(key.clone()), "{key:?} changes twice");
        let before = match change {
            StateChange::Put(key, state) => store.insert(key.clone(), state.clone()).as_ref() != Some(state),
            StateChange::Delete(key) => store.remove(key).is_some(),
        };
        assert!(before, "{change:?} changes nothing");
    }
}

/// One epoch's input: groups of events of a rule and a service, how far the watermark moves, and whether the
/// process starts anew afterwards.
type EpochInput = (Vec<(usize, usize, Vec<i64>)>, Option<i64>, bool);

fn run(rules: Arc<[Rule]>, allowed_lateness_ms: i64, evidence: usize, epochs: &[EpochInput]) {
    let start = || {
        Windows::new(
            Arc::clone(&rules),
            allowed_lateness_ms,
            evidence,
            Arc::new(OpenWindows::new(usize::MAX)),
        )
    };
    let mut model =
        Model { rules: Arc::clone(&rules), allowed_lateness_ms, evidence, given: vec![], watermarks: vec![] };
    let mut windows = start();
    let mut store = BTreeMap::new();
    let mut offset = 0;
    for (epoch, (groups, advance, restart)) in epochs.iter().enumerate() {
        let mut asked_for_cut = false;
        for (rule, service, timestamps) in groups {
            let service = ["checkout", "search", "дом"][*service].to_owned();
            let given = timestamps.iter().map(|&timestamp| {
                offset += 1;
                Given { epoch, rule: *rule, service: service.clone(), timestamp, offset }
            });
            let given: Vec<_> = given.collect();
            asked_for_cut |= windows.count(RuleId(*rule), &service, given.iter().map(Given::event));
            model.given.extend(given);
        }
        let before = model.watermark_during(epoch);
        let watermark = advance.map(|step| before.unwrap_or(0) + step);
        // The watermark of a cut may be lower than the one before: it does not count then.
        let delta = windows.seal(watermark.map(TimestampMs));
        model.watermarks.push(before.max(watermark));

        check(&model, epoch, asked_for_cut, &delta);
        apply(&mut store, &delta.changes);
        assert_eq!(store, model.open(epoch));
        assert_eq!(windows.len(), store.len());
        if *restart {
            windows = start();
            windows.restore_watermark(model.watermarks[epoch].map(TimestampMs));
            assert!(store.iter().all(|(key, state)| windows.restore(key.clone(), state.clone())));
        }
    }
}

fn check(model: &Model, epoch: usize, asked_for_cut: bool, delta: &EpochDelta) {
    let (mut crossed, closed) = model.alerts(epoch);
    assert_eq!(asked_for_cut, !crossed.is_empty());
    let (crossed_part, closed_part) = delta.alerts.split_at(crossed.len());
    let mut crossed_part = crossed_part.to_vec();
    for part in [&mut crossed_part, &mut crossed] {
        part.sort_by_key(|alert| (alert.rule, alert.service.clone(), alert.window_start));
    }
    assert_eq!(crossed_part, crossed);
    assert_eq!(closed_part, closed);
    assert_eq!((&delta.late, delta.overflow), (&model.late(epoch), 0));
}

fn rule(name: &str, window_ms: i64, slide_ms: i64, threshold: u64) -> Rule {
    Rule { name: name.into(), window_ms, slide_ms, threshold, ..Rule::default() }
}

fn rules() -> impl Strategy<Value = Arc<[Rule]>> {
    let frame = prop::sample::select(vec![(20, 20), (20, 5), (7, 7), (12, 2)]);
    let options = (frame, 0_u64..6, any::<bool>(), any::<bool>());
    prop::collection::vec(options, 3).prop_map(|rules| {
        let named =
            rules.into_iter().enumerate().map(|(index, (frame, threshold, emit_crossed, emit_closed))| {
                Rule {
                    emit_crossed,
                    emit_closed,
                    ..rule(&format!("rule-{index}"), frame.0, frame.1, threshold)
                }
            });
        named.collect()
    })
}

fn epochs() -> impl Strategy<Value = Vec<EpochInput>> {
    // Mostly runs of neighbours, as live traffic is, and now and then anything.
    let timestamps = prop_oneof![
        (0_i64..120).prop_flat_map(|around| prop::collection::vec(around..around + 8, 0..12)),
        prop::collection::vec(0_i64..120, 0..6),
    ];
    let group = (0_usize..3, 0_usize..3, timestamps);
    let epoch = (prop::collection::vec(group, 0..5), prop::option::weighted(0.8, -5_i64..30), any::<bool>());
    prop::collection::vec(epoch, 1..10)
}

proptest! {
    #[test]
    fn windows_agree_with_a_model_that_keeps_all_events_through_any_restart(
        rules in rules(), allowed_lateness_ms in 0_i64..15, evidence in 0_usize..4, epochs in epochs(),
    ) {
        run(rules, allowed_lateness_ms, evidence, &epochs);
    }
}

fn events(timestamps: &[i64]) -> impl Iterator<Item = CountedEvent<'static>> + Clone {
    let given = |(index, &timestamp): (usize, &i64)| {
        Given { epoch: 0, rule: 0, service: String::new(), timestamp, offset: index as i64 }.event()
    };
    timestamps.iter().enumerate().map(given)
}

fn windows(rule: Rule, evidence: usize, open: &Arc<OpenWindows>) -> Windows {
    Windows::new([rule].into(), 0, evidence, Arc::clone(open))
}

fn unlimited() -> Arc<OpenWindows> {
    Arc::new(OpenWindows::new(usize::MAX))
}

/// Carries the windows over to a new configuration.
fn restart(changes: &[StateChange], rule: Rule, evidence: usize) -> (Windows, usize) {
    let mut windows = windows(rule, evidence, &unlimited());
    let mut given_up = 0;
    for change in changes {
        let StateChange::Put(key, state) = change else { panic!("{change:?}") };
        given_up += usize::from(!windows.restore(key.clone(), state.clone()));
    }
    (windows, given_up)
}

fn at(timestamp: i64) -> Option<TimestampMs> {
    Some(TimestampMs(timestamp))
}

#[test]
fn a_late_event_of_a_sliding_window_is_counted_where_it_still_can_be() {
    let mut windows = windows(rule("r", 20, 5, 0), 1, &unlimited());
    windows.seal(at(30));
    // Of the windows from 5, 10, 15 and 20 the first two are closed.
    windows.count(RuleId(0), "checkout", events(&[22]));
    let delta = windows.seal(None);
    assert_eq!((delta.late, windows.len()), (vec![2], 2));
}

#[test]
fn a_window_that_opens_and_closes_in_one_epoch_leaves_no_change_but_its_alerts() {
    let mut windows = windows(rule("r", 20, 20, 1), 5, &unlimited());
    assert!(windows.count(RuleId(0), "checkout", events(&[1, 2, 3])));
    let delta = windows.seal(at(20));
    let phases: Vec<_> = delta.alerts.iter().map(|alert| (alert.phase, alert.count)).collect();
    assert_eq!(phases, [(AlertPhase::Crossed, 2), (AlertPhase::Closed, 3)]);
    assert!(delta.changes.is_empty() && windows.is_empty());
}

#[test]
fn beyond_the_limit_only_services_with_an_open_window_are_counted() {
    let open = Arc::new(OpenWindows::new(2));
    let mut windows = windows(rule("r", 10, 5, 100), 0, &open);
    windows.count(RuleId(0), "checkout", events(&[12]));
    assert_eq!(open.count(), 2);
    windows.count(RuleId(0), "checkout", events(&[27]));
    windows.count(RuleId(0), "search", events(&[12, 13, 27]));
    // Once for each event, however many windows it would have been in.
    assert_eq!((windows.seal(at(20)).overflow, open.count()), (3, 2));
    windows.seal(at(30));
    windows.count(RuleId(0), "search", events(&[32]));
    // The window from 30 alone has an end beyond the watermark, as has that from 25.
    assert_eq!((windows.seal(None).overflow, open.count()), (0, 3));
    drop(windows);
    assert_eq!(open.count(), 0);
}

#[test]
fn state_that_fits_no_rule_any_more_is_deleted_once() {
    let mut before = windows(rule("r", 20, 10, 100), 0, &unlimited());
    before.count(RuleId(0), "checkout", events(&[12]));
    let changes = before.seal(None).changes;
    let deletions = |delta: EpochDelta| {
        delta.changes.iter().filter(|change| matches!(change, StateChange::Delete(_))).count()
    };
    for other in [rule("other", 20, 10, 100), rule("r", 10, 10, 100), rule("r", 40, 20, 100)] {
        let (mut windows, given_up) = restart(&changes, other, 0);
        assert_eq!((given_up, windows.len()), (2, 0));
        assert_eq!((deletions(windows.seal(None)), deletions(windows.seal(None))), (2, 0));
    }
    // A slide that some starts still lie on.
    let (windows, given_up) = restart(&changes, rule("r", 20, 20, 100), 0);
    assert_eq!((given_up, windows.len()), (1, 1));
    // A new window may take the place of one that is given up.
    let (mut windows, _) = restart(&changes, rule("r", 10, 10, 100), 0);
    windows.count(RuleId(0), "checkout", events(&[1]));
    let delta = windows.seal(None);
    assert_eq!((delta.changes.len(), deletions(delta)), (2, 1));
}

#[test]
fn a_lowered_threshold_crosses_at_the_next_event_and_a_raised_one_does_not_cross_again() {
    let mut before = windows(rule("r", 20, 20, 10), 1, &unlimited());
    assert!(!before.count(RuleId(0), "checkout", events(&[1, 2, 3])));
    let changes = before.seal(None).changes;
    let (mut lowered, _) = restart(&changes, rule("r", 20, 20, 1), 5);
    assert!(lowered.count(RuleId(0), "checkout", events(&[4, 5])));
    let delta = lowered.seal(None);
    assert_eq!((delta.alerts.len(), delta.alerts[0].count), (1, 4));
    // The second event was not remembered, so the fourth is not evidence of the first ones.
    assert_eq!(delta.alerts[0].evidence.len(), 1);

    let (mut raised, _) = restart(&delta.changes, rule("r", 20, 20, 5), 5);
    assert!(!raised.count(RuleId(0), "checkout", events(&[6])));
    let delta = raised.seal(at(20));
    assert_eq!(
        (delta.alerts.len(), delta.alerts[0].phase, delta.alerts[0].count),
        (1, AlertPhase::Closed, 6)
    );
}
