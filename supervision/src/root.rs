//! The root of the tree: starts its children, and sees to it that one which fails is started again alone, or ends the
//! whole if nothing works without it.

use std::{
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use tidegate_core::supervision::{Backoff, RestartBudget};
use tokio::sync::oneshot;

use crate::ended::who_ended;

/// Pause after the first and the following failures of a child in a row.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// A child of the root.
pub(crate) struct Child {
    /// Its name in logs.
    pub(crate) name: String,
    /// Starts it, linked to the actor that is given.
    pub(crate) start: Start,
    /// What to do when it fails.
    pub(crate) on_failure: OnFailure,
    /// Asks it to end, where that is the root's to do.
    pub(crate) stop: Option<fn(&ActorCell)>,
    /// Told why when it failed too often and stays down.
    pub(crate) given_up: Option<Box<dyn Fn(String) + Send>>,
}

/// Starts a child; called again when it failed and is to live again.
pub(crate) type Start = Box<dyn FnMut(ActorCell) -> Starting + Send>;

/// A child that is being started.
pub(crate) type Starting = Pin<Box<dyn Future<Output = Result<ActorCell, SpawnErr>> + Send>>;

/// What to do when a child fails.
pub(crate) enum OnFailure {
    /// Nothing works without it: the root says why, and ends.
    End,
    /// It is started again after a pause, alone, as often as this allows; then it stays down, and the others live on.
    Restart(RestartBudget),
}

/// The root of the tree.
pub(crate) struct Root;

/// To the root.
pub(crate) enum RootMsg {
    /// From itself: start this child, at first or again.
    Start(usize),
    /// Asks all children to end that it may ask, starts none of them again, and answers when they have ended.
    StopChildren(oneshot::Sender<()>),
}

pub(crate) struct RootState {
    myself: ActorRef<RootMsg>,
    children: Vec<ChildState>,
    /// Told why, when a child failed that nothing works without.
    failed: Option<oneshot::Sender<String>>,
    /// The end was asked for: who ends now does so in order.
    is_stopping: bool,
    /// Told when the children have ended that were asked to.
    stopped: Option<oneshot::Sender<()>>,
}

struct ChildState {
    child: Child,
    actor: Option<ActorCell>,
    backoff: Backoff,
    started_at: Instant,
}

impl Actor for Root {
    type Msg = RootMsg;
    type State = RootState;
    type Arguments = (Vec<Child>, oneshot::Sender<String>);

    async fn pre_start(
        &self,
        myself: ActorRef<RootMsg>,
        (children, failed): Self::Arguments,
    ) -> Result<RootState, ActorProcessingErr> {
        for index in 0..children.len() {
            myself.cast(RootMsg::Start(index))?;
        }
        let state = |child| ChildState {
            child,
            actor: None,
            backoff: Backoff::new(BACKOFF.0, BACKOFF.1),
            started_at: Instant::now(),
        };
        let children = children.into_iter().map(state).collect();
        Ok(RootState { myself, children, failed: Some(failed), is_stopping: false, stopped: None })
    }

    async fn handle(
        &self,
        myself: ActorRef<RootMsg>,
        message: RootMsg,
        state: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        let index = match message {
            RootMsg::Start(_) if state.is_stopping => return Ok(()),
            RootMsg::Start(index) => index,
            RootMsg::StopChildren(stopped) => {
                state.stop_children(stopped);
                return Ok(());
            }
        };
        let Some(child) = state.children.get_mut(index) else { return Ok(()) };
        child.started_at = Instant::now();
        match (child.child.start)(myself.get_cell()).await {
            Ok(actor) => child.actor = Some(actor),
            Err(error) => state.child_failed(index, format!("it cannot be started: {error}")),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<RootMsg>,
        event: SupervisionEvent,
        state: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        let Some((who, cause)) = who_ended(event) else { return Ok(()) };
        let is_it =
            |child: &ChildState| child.actor.as_ref().is_some_and(|actor| actor.get_id() == who.get_id());
        if let Some(index) = state.children.iter().position(is_it) {
            state.child_failed(index, cause);
        }
        Ok(())
    }
}

impl RootState {
    fn stop_children(&mut self, stopped: oneshot::Sender<()>) {
        self.is_stopping = true;
        self.stopped = Some(stopped);
        for ChildState { child, actor, .. } in &self.children {
            if let (Some(stop), Some(actor)) = (child.stop, actor) {
                stop(actor);
            }
        }
        self.tell_if_stopped();
    }

    fn tell_if_stopped(&mut self) {
        let is_up = |state: &ChildState| state.child.stop.is_some() && state.actor.is_some();
        if !self.children.iter().any(is_up)
            && let Some(stopped) = self.stopped.take()
        {
            // Nobody waits any more: the process is ending anyway.
            let _ = stopped.send(());
        }
    }

    fn child_failed(&mut self, index: usize, cause: String) {
        let ChildState { child, actor, backoff, started_at } = &mut self.children[index];
        *actor = None;
        if self.is_stopping {
            return self.tell_if_stopped();
        }
        let name = &child.name;
        match &mut child.on_failure {
            OnFailure::End => {
                tracing::error!(child = name, cause, "it failed, and nothing works without it");
                if let Some(failed) = self.failed.take() {
                    // Nobody waits any more: the process is ending anyway.
                    let _ = failed.send(format!("{name} failed: {cause}"));
                }
                // Its other children end with it.
                self.myself.kill();
            }
            OnFailure::Restart(budget) => match budget.spend(Instant::now(), cause.clone()) {
                Ok(()) => {
                    if started_at.elapsed() > BACKOFF.1 {
                        backoff.reset();
                    }
                    let pause = backoff.wait();
                    tracing::error!(child = name, cause, retry_in = ?pause, "it failed and is started again");
                    self.myself.send_after(pause, move || RootMsg::Start(index));
                }
                Err(exhausted) => {
                    tracing::error!(child = name, cause = %exhausted, "it failed too often and stays down");
                    if let Some(given_up) = &child.given_up {
                        given_up(exhausted.to_string());
                    }
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use tokio::sync::mpsc;

    use super::*;

    /// Fails when it is told to, and else says that it is there.
    struct Fragile;

    enum FragileMsg {
        Fail,
        Answer(mpsc::Sender<()>),
    }

    impl Actor for Fragile {
        type Msg = FragileMsg;
        type State = ();
        type Arguments = ();

        async fn pre_start(&self, _myself: ActorRef<FragileMsg>, (): ()) -> Result<(), ActorProcessingErr> {
            Ok(())
        }

        async fn handle(
            &self,
            _myself: ActorRef<FragileMsg>,
            message: FragileMsg,
            (): &mut (),
        ) -> Result<(), ActorProcessingErr> {
            match message {
                FragileMsg::Fail => Err("told to fail".into()),
                FragileMsg::Answer(reply) => Ok(reply.send(()).await?),
            }
        }
    }

    /// A child, how often it was started, and who it is now.
    struct Watched {
        starts: Arc<AtomicUsize>,
        actors: mpsc::Receiver<ActorRef<FragileMsg>>,
    }

    fn child(name: &str, on_failure: OnFailure) -> (Child, Watched) {
        let starts = Arc::new(AtomicUsize::new(0));
        let (tell, actors) = mpsc::channel(8);
        let watched = Watched { starts: Arc::clone(&starts), actors };
        let start = move |root: ActorCell| -> Starting {
            let (starts, tell) = (Arc::clone(&starts), tell.clone());
            Box::pin(async move {
                let (actor, _) = Actor::spawn_linked(None, Fragile, (), root).await?;
                starts.fetch_add(1, Ordering::Relaxed);
                let cell = actor.get_cell();
                // A test that looks no more has ended.
                let _ = tell.send(actor).await;
                Ok(cell)
            })
        };
        let stop: fn(&ActorCell) = |child| child.drain().unwrap_or_default();
        let child =
            Child { name: name.into(), start: Box::new(start), on_failure, stop: Some(stop), given_up: None };
        (child, watched)
    }

    fn restarts(max: usize) -> OnFailure {
        OnFailure::Restart(RestartBudget::new(max, Duration::from_secs(60)))
    }

    async fn answers(actor: &ActorRef<FragileMsg>) -> bool {
        let (reply, mut answer) = mpsc::channel(8);
        actor.cast(FragileMsg::Answer(reply)).is_ok() && answer.recv().await.is_some()
    }

    #[tokio::test]
    async fn a_child_that_fails_is_started_again_alone() {
        let ((fragile, mut failing), (other, mut living)) =
            (child("fragile", restarts(3)), child("other", restarts(3)));
        let (failed, mut has_failed) = oneshot::channel();
        let (root, _) = Actor::spawn(None, Root, (vec![fragile, other], failed)).await.unwrap();
        let (first, other) = (failing.actors.recv().await.unwrap(), living.actors.recv().await.unwrap());
        first.cast(FragileMsg::Fail).unwrap();
        let second = failing.actors.recv().await.unwrap();
        assert!(answers(&second).await && answers(&other).await);
        assert_eq!(living.starts.load(Ordering::Relaxed), 1);
        assert!(has_failed.try_recv().is_err());
        root.kill();
    }

    #[tokio::test]
    async fn a_child_that_fails_too_often_stays_down_and_the_others_live_on() {
        let ((fragile, mut failing), (other, mut living)) =
            (child("fragile", restarts(1)), child("other", restarts(1)));
        let (failed, _has_failed) = oneshot::channel();
        let (root, _) = Actor::spawn(None, Root, (vec![fragile, other], failed)).await.unwrap();
        let other = living.actors.recv().await.unwrap();
        for _ in 0..2 {
            failing.actors.recv().await.unwrap().cast(FragileMsg::Fail).unwrap();
        }
        let later = tokio::time::timeout(Duration::from_secs(1), failing.actors.recv()).await;
        assert!(later.is_err(), "it was started a third time");
        assert!(answers(&other).await);
        root.kill();
    }

    #[tokio::test]
    async fn children_that_were_asked_to_end_are_waited_for_and_not_started_again() {
        let ((one, mut first), (other, mut second)) =
            (child("one", restarts(3)), child("other", restarts(3)));
        let (failed, _has_failed) = oneshot::channel();
        let (root, _) = Actor::spawn(None, Root, (vec![one, other], failed)).await.unwrap();
        let children = [first.actors.recv().await.unwrap(), second.actors.recv().await.unwrap()];
        let (stopped, has_stopped) = oneshot::channel();
        root.cast(RootMsg::StopChildren(stopped)).unwrap();
        has_stopped.await.unwrap();
        for child in children {
            assert!(!answers(&child).await);
        }
        assert_eq!((first.starts.load(Ordering::Relaxed), second.starts.load(Ordering::Relaxed)), (1, 1));
        root.kill();
    }

    #[tokio::test]
    async fn when_a_child_fails_that_nothing_works_without_the_root_says_why_and_ends_with_all_others() {
        let ((fragile, mut failing), (other, mut living)) =
            (child("fragile", OnFailure::End), child("other", restarts(1)));
        let (failed, has_failed) = oneshot::channel();
        let (_root, ended) = Actor::spawn(None, Root, (vec![fragile, other], failed)).await.unwrap();
        let other = living.actors.recv().await.unwrap();
        failing.actors.recv().await.unwrap().cast(FragileMsg::Fail).unwrap();
        assert_eq!(has_failed.await.unwrap(), "fragile failed: told to fail");
        ended.await.unwrap();
        while other.cast(FragileMsg::Fail).is_ok() {
            tokio::task::yield_now().await;
        }
    }
}
