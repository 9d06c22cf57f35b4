//! The protocol, broken in one place at a time: texts of today's sources and what they are replaced by.

/// A way to break the protocol.
pub(super) struct Mutant {
    /// What is wrong then.
    pub(super) name: &'static str,
    pub(super) file: &'static str,
    /// Occurs once in the file.
    text: &'static str,
    replacement: &'static str,
}

impl Mutant {
    /// The source with the fault.
    pub(super) fn apply(&self, source: &str) -> Result<String, String> {
        match source.matches(self.text).count() {
            1 => Ok(source.replacen(self.text, self.replacement, 1)),
            0 => Err(format!("its text is not in {} any more", self.file)),
            times => Err(format!("its text is in {} {times} times", self.file)),
        }
    }
}

const fn mutant(
    name: &'static str,
    file: &'static str,
    text: &'static str,
    replacement: &'static str,
) -> Mutant {
    Mutant { name, file, text, replacement }
}

const ALIGN: &str = "core/src/epoch/align.rs";
const PARTITION: &str = "core/src/epoch/partition.rs";
const SEQUENCE: &str = "core/src/epoch/sequence.rs";
const SHARE: &str = "core/src/epoch/share.rs";
const COMMIT: &str = "core/src/epoch/commit.rs";
const GATHER: &str = "core/src/epoch/gather.rs";
const PACE: &str = "core/src/epoch/pace.rs";
const WRITING: &str = "core/src/epoch/writing.rs";
const IDLENESS: &str = "core/src/time/idleness.rs";
const WATERMARK: &str = "core/src/time/watermark.rs";
const RECOVERY: &str = "core/src/recovery.rs";
const WINDOWS: &str = "core/src/window/windows.rs";

/// All of them. Some would be noticed by tests of core as well; here it is the whole that has to notice.
pub(super) const MUTANTS: &[Mutant] = &[
    mutant(
        "alignment: data of the next epoch are taken for the open one's",
        ALIGN,
        "Some(false) if of == self.epoch => Ok(Some(data)),",
        "_ if of == self.epoch || of == self.epoch.next() => Ok(Some(data)),",
    ),
    mutant("alignment: data of the next epoch are lost", ALIGN, "self.early.push(data);", "drop(data);"),
    mutant(
        "alignment: data of the open epoch wait for the next",
        ALIGN,
        "Some(false) if of == self.epoch => Ok(Some(data)),",
        "Some(false) if of == self.epoch => {\n                self.early.push(data);\n                Ok(None)\n            }",
    ),
    mutant("alignment: one seal too few is enough", ALIGN, "self.missing == 0", "self.missing <= 1"),
    mutant(
        "alignment: a seal is lost",
        ALIGN,
        "self.seals[partition.0 as usize] = Some(seal);\n                self.missing -= 1;",
        "if partition.0 != 1 {\n                    self.seals[partition.0 as usize] = Some(seal);\n                    self.missing -= 1;\n                }",
    ),
    mutant(
        "partition: its position moves when records come, not when they are passed on",
        PARTITION,
        "        self.sequence.push(Batch { item, next }, records)",
        "        self.next = next;\n        self.sequence.push(Batch { item, next }, records)",
    ),
    mutant(
        "partition: event time moves with what came back early",
        PARTITION,
        "        self.sequence.done(piece, done);",
        "        done.highest.into_iter().for_each(|highest| self.clock.observe(highest));\n        self.sequence.done(piece, done);",
    ),
    mutant(
        "partition: the last cut of a drain does not wait",
        PARTITION,
        "if cut.drain && !self.sequence.is_empty() {",
        "if cut.drain && self.sequence.is_empty() && self.draining.is_some() {",
    ),
    mutant(
        "partition: the end counts although records before it are in the pools",
        PARTITION,
        "self.end.filter(|_| self.sequence.is_empty())",
        "self.end",
    ),
    mutant(
        "partition: what is passed on behind a seal is of the epoch before",
        PARTITION,
        "        self.epoch = cut.epoch.next();\n",
        "        self.epoch = cut.epoch;\n",
    ),
    mutant(
        "partition: it is at its end although records came behind it",
        PARTITION,
        "        self.end = None;\n        self.idleness",
        "        self.idleness",
    ),
    mutant(
        "sequence: a batch leaves when one of its pieces is done",
        SEQUENCE,
        ".all(|piece| piece.done.is_some())",
        ".any(|piece| piece.done.is_some())",
    ),
    mutant(
        "sequence: halves of a batch leave the wrong way round",
        SEQUENCE,
        "let halves = [PieceId { end: middle, ..id }, PieceId { first: middle, ..id }];",
        "let halves = [PieceId { first: middle, ..id }, PieceId { end: middle, ..id }];",
    ),
    mutant(
        "sequence: the newest batch leaves first",
        SEQUENCE,
        "        let slot = self.slots.pop_front()?;\n        self.first += 1;",
        "        let slot = self.slots.pop_back()?;",
    ),
    mutant(
        "sequence: what only waited for a dead worker is not given out again",
        SEQUENCE,
        "if !is_blamed {\n            return Retry::Send(vec![id]);",
        "if !is_blamed {\n            return Retry::Send(Vec::new());",
    ),
    mutant(
        "sequence: a whole piece is taken for poison",
        SEQUENCE,
        "if id.end - id.first == 1 {",
        "if id.end - id.first <= 2 {",
    ),
    mutant(
        "share: late is decided without the restored watermark",
        SHARE,
        "        windows.restore_watermark(watermark);\n",
        "        let _ = &mut windows;\n",
    ),
    mutant(
        "share: the watermark begins anew with each generation",
        SHARE,
        "PipelineWatermark::new(watermark)",
        "PipelineWatermark::new(None)",
    ),
    mutant(
        "share: windows close by the watermark of the epoch before",
        SHARE,
        "        let watermark = self.watermark.advance(&seals, seal.cut.at_ms());\n        let delta = self.windows.seal(watermark);",
        "        let delta = self.windows.seal(self.watermark.value());\n        let watermark = self.watermark.advance(&seals, seal.cut.at_ms());",
    ),
    mutant(
        "share: events that came early are lost",
        SHARE,
        "Ok(Some(ShareDelta { epoch, delta, watermark, early }))",
        "drop(early);\n        Ok(Some(ShareDelta { epoch, delta, watermark, early: Vec::new() }))",
    ),
    mutant(
        "watermark: it goes back",
        WATERMARK,
        "self.value = self.value.max(reached);",
        "self.value = reached;",
    ),
    mutant(
        "watermark: idle partitions hold the others back",
        WATERMARK,
        "marks.iter().filter(|mark| !mark.idle).map(|mark| mark.watermark).min().flatten()",
        "marks.iter().map(|mark| mark.watermark).min().flatten()",
    ),
    mutant(
        "watermark: of those that fell idle the highest counts",
        WATERMARK,
        "let lowest = fell_idle.filter_map(|(_, mark)| mark.watermark).min();",
        "let lowest = fell_idle.filter_map(|(_, mark)| mark.watermark).max();",
    ),
    mutant(
        "watermark: a partition that has brought nothing holds nobody back",
        WATERMARK,
        "marks.iter().filter(|mark| !mark.idle).map(|mark| mark.watermark).min().flatten()",
        "marks.iter().filter(|mark| !mark.idle).filter_map(|mark| mark.watermark).min()",
    ),
    mutant(
        "idleness: silence counts while the log does not answer",
        IDLENESS,
        "if !log_is_up || self.was_held_up(now_ms) {",
        "if self.was_held_up(now_ms) {",
    ),
    mutant(
        "idleness: a partition with records to read is idle",
        IDLENESS,
        "is_at_end && now_ms - self.active_ms >=",
        "now_ms - self.active_ms >=",
    ),
    mutant(
        "idleness: records do not end it",
        IDLENESS,
        "    pub fn records(&mut self, now_ms: i64) {\n        self.active_ms = now_ms;",
        "    pub fn records(&mut self, now_ms: i64) {\n        let _ = now_ms;",
    ),
    mutant(
        "commit: an epoch that moved a position is skipped",
        "core/src/epoch/due.rs",
        "work.announces || work.has_records || has_moved ||",
        "work.announces || work.has_records || has_moved && false ||",
    ),
    mutant(
        "commit: the owner is not announced",
        COMMIT,
        "let announces = mem::take(&mut self.is_first);",
        "let announces = mem::take(&mut self.is_first) && false;",
    ),
    mutant(
        "commit: the part of one share is enough",
        COMMIT,
        "if self.parts.len() < self.shares {",
        "if self.parts.is_empty() {",
    ),
    mutant(
        "commit: what was committed is not remembered",
        COMMIT,
        "(self.committed, self.committed_at) = (ends, now);",
        "self.committed_at = now;\n        drop(ends);",
    ),
    mutant(
        "credits: the limit is not asked",
        "core/src/epoch/credits.rs",
        "self.used.load(Ordering::Relaxed) < self.limit",
        "self.used.load(Ordering::Relaxed) < usize::MAX",
    ),
    mutant(
        "credits: nothing is given back",
        "core/src/epoch/credits.rs",
        "self.used.fetch_sub(bytes, Ordering::Relaxed);",
        "let _ = bytes;",
    ),
    mutant(
        "gather: positions are noted too early",
        GATHER,
        "self.noted.take_if(|(_, answered)| *answered < begun)",
        "self.noted.take_if(|_| begun >= Duration::ZERO)",
    ),
    mutant(
        "gather: an older change wins over a newer one",
        GATHER,
        "waiting.into_iter().map(|committed| committed.changes)",
        "waiting.into_iter().rev().map(|committed| committed.changes)",
    ),
    mutant(
        "gather: the first epoch is lost",
        GATHER,
        "base.is_none_or(|base| base < committed.epoch)",
        "base.is_none_or(|base| base.next() < committed.epoch)",
    ),
    mutant("pace: two epochs are under way", PACE, "if self.is_open || self.is_done {", "if self.is_done {"),
    mutant(
        "pace: cuts go on behind the last one of a drain",
        PACE,
        "if self.is_open || self.is_done {",
        "if self.is_open {",
    ),
    mutant("pace: no epoch is ever finished", PACE, "        self.is_open = false;\n", ""),
    mutant(
        "writing: after a failure it goes on",
        WRITING,
        "        self.current = of;\n        !self.has_failed",
        "        self.current = of;\n        true",
    ),
    mutant(
        "writing: an epoch of unknown outcome is given up on the same writer",
        WRITING,
        "(is_clean && !self.has_failed)",
        "is_clean",
    ),
    mutant(
        "writing: it does not remember what it committed",
        WRITING,
        "*committed = Some((next, metadata));",
        "let _ = (&committed, next, metadata);",
    ),
    mutant(
        "recovery: a half-applied store is used as it is",
        RECOVERY,
        "StoreFacts::At { epoch, .. } if *epoch == committed => StoreAction::Use,",
        "StoreFacts::At { reaches, .. } if *reaches == committed => StoreAction::Use,",
    ),
    mutant(
        "recovery: a store whose filling was cut short is caught up",
        RECOVERY,
        "StoreFacts::At { epoch, reaches, .. } if reaches > epoch =>",
        "StoreFacts::At { epoch, reaches, .. } if reaches > epoch && false =>",
    ),
    mutant(
        "recovery: a store of long ago is caught up",
        RECOVERY,
        "if *age > CATCH_UP_WITHIN =>",
        "if *age > CATCH_UP_WITHIN && false =>",
    ),
    mutant(
        "recovery: a store that is behind is used as it is",
        RECOVERY,
        "StoreFacts::At { .. } => StoreAction::CatchUp,",
        "StoreFacts::At { .. } => StoreAction::Use,",
    ),
    mutant(
        "recovery: where the process began is ignored",
        RECOVERY,
        ".filter(|began_at| is_fresh && began_at.len() <= committed.len())",
        ".filter(|began_at| is_fresh && began_at.len() > committed.len())",
    ),
    mutant(
        "recovery: where the process began is forgotten once the input grew",
        RECOVERY,
        ".filter(|began_at| is_fresh && began_at.len() <= committed.len())",
        ".filter(|began_at| is_fresh && began_at.len() == committed.len())",
    ),
    mutant(
        "recovery: the committed epoch is used once more",
        RECOVERY,
        "Ok(Decision::Go(Resume { first: resume.first.next(), ..resume }))",
        "Ok(Decision::Go(resume))",
    ),
    mutant(
        "recovery: the committed epoch is used once more after the changelog was read",
        RECOVERY,
        "first: resume.first.max(reaches).next(), ..resume",
        "first: resume.first.max(reaches), ..resume",
    ),
    mutant(
        "recovery: the highest times are forgotten",
        RECOVERY,
        "mark.and_then(|mark| mark.highest)",
        "mark.and_then(|_| None)",
    ),
    mutant(
        "recovery: the watermark is forgotten",
        RECOVERY,
        "watermark: last.and_then(|last| last.watermark),",
        "watermark: last.and_then(|_| None),",
    ),
    mutant(
        "recovery: a new partition is read from its end",
        RECOVERY,
        "None => Ok(if from_end { end } else { begin }),",
        "None => Ok(if from_end || !is_fresh { end } else { begin }),",
    ),
    mutant(
        "recovery: the changelog is read on top of a store that cannot be trusted",
        RECOVERY,
        "if self.resume.store == StoreAction::CatchUp { ReadFrom::Store } else { ReadFrom::Begin }",
        "ReadFrom::Store",
    ),
    mutant(
        "windows: an event that is late by nothing is not late",
        "core/src/window/frame.rs",
        "self.end(start).0.saturating_add(self.allowed_lateness_ms) <= watermark.0",
        "self.end(start).0.saturating_add(self.allowed_lateness_ms) < watermark.0",
    ),
    mutant(
        "windows: one that crossed crosses again",
        WINDOWS,
        "let crosses = !self.state.crossed && self.state.count > threshold;",
        "let crosses = self.state.count > threshold;",
    ),
    mutant(
        "windows: the state keeps those that closed",
        WINDOWS,
        "if window.stored {",
        "if window.stored && false {",
    ),
    mutant(
        "windows: the state keeps those that were restored and closed",
        WINDOWS,
        "Window { state, stored: true, dirty: false }",
        "Window { state, stored: false, dirty: false }",
    ),
    mutant(
        "windows: only the first change of one is kept",
        WINDOWS,
        "            window.dirty = false;\n",
        "",
    ),
    mutant(
        "policy: a stateful part is replaced alone",
        "core/src/supervision/policy.rs",
        "Failure::Crashed(part) if part.is_stateless() =>",
        "Failure::Crashed(part) if part.is_stateless() || part == Part::Window =>",
    ),
    mutant(
        "lifecycle: an input that grew is not taken up",
        "core/src/supervision/lifecycle.rs",
        "LifecycleState::Running => self.renew(Rollback::Full, false, true),",
        "LifecycleState::Running => Step::Nothing,",
    ),
    mutant(
        "lifecycle: a shutdown while recovering is forgotten",
        "core/src/supervision/lifecycle.rs",
        "LifecycleState::Recovering => self.go(LifecycleState::Ended, Step::FinishUnstarted),",
        "LifecycleState::Recovering => Step::Nothing,",
    ),
    mutant(
        "lifecycle: what fails while draining makes it run again",
        "core/src/supervision/lifecycle.rs",
        "self.go(LifecycleState::Ended, if is_done { Step::Finish } else { Step::Fail })",
        "self.renew(Rollback::Full, false, !is_done)",
    ),
    mutant(
        "lifecycle: a drain never ends",
        "core/src/supervision/lifecycle.rs",
        "LifecycleState::Draining => self.go(LifecycleState::Ended, Step::Finish),",
        "LifecycleState::Draining => Step::Nothing,",
    ),
    mutant(
        "mark: event time is not in it",
        "core/src/epoch.rs",
        "(\"watermark\", watermark)]",
        "(\"watermark\", highest)]",
    ),
    mutant(
        "driver: the store has an epoch before its commit came back",
        "simulator/src/actors/writer.rs",
        "let step = Step::Flush;",
        "let step = Step::Flush;\n                store.send(key, ToStore::Committed { epoch, begun, bytes: 8 << 20, changes: changes.clone() });",
    ),
    mutant(
        "driver: a failed commit does not end the writer's epoch",
        "simulator/src/actors/writer.rs",
        "        self.writing.fail();\n",
        "",
    ),
    mutant(
        "driver: a new writer fences nobody",
        "simulator/src/recovering.rs",
        "let producer = env.log.fence(env.now);",
        "let producer = env.log.producer;",
    ),
    mutant(
        "driver: windows are restored to another share than they are counted in",
        "simulator/src/actors/live.rs",
        "shares[shape.owners[Shape::service(&key.service)]]",
        "shares[(shape.owners[Shape::service(&key.service)] + 1) % shape.window_actors]",
    ),
];

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use super::*;
    use crate::root;

    #[test]
    fn every_mutant_has_a_name_of_its_own_and_its_text_once_in_todays_sources() {
        let names: BTreeSet<_> = MUTANTS.iter().map(|mutant| mutant.name).collect();
        assert_eq!(names.len(), MUTANTS.len());
        for mutant in MUTANTS {
            let source = fs::read_to_string(root().join(mutant.file)).unwrap();
            let mutated = mutant.apply(&source);
            assert!(mutated.as_ref().is_ok_and(|mutated| *mutated != source), "{}: {mutated:?}", mutant.name);
        }
    }
}
