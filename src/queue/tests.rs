use super::*;
use crate::domain::alert::Failure;

fn item(name: &str) -> WorkItem {
    let release = ReleaseRef {
        cluster: "a".into(),
        namespace: "apps".into(),
        name: name.into(),
    };
    WorkItem::new(Failure { release, uid: None }, Source::Alert)
}

fn soon(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn entries_come_in_the_order_they_are_due() {
    let queue = Queue::new(9);
    for (name, due) in [("late", 9), ("first", 1), ("second", 1)] {
        assert_eq!(queue.enqueue(item(name), soon(due)), Enqueued::Queued);
    }
    for name in ["first", "second", "late"] {
        assert_eq!(
            &*queue.next().await.expect("an entry").failure.release.name,
            name
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_has_one_entry_and_a_second_alert_only_brings_it_forward() {
    let queue = Queue::new(1);
    queue.enqueue(item("web"), soon(60));
    assert_eq!(queue.enqueue(item("web"), soon(2)), Enqueued::Merged);
    assert_eq!(queue.enqueue(item("web"), soon(600)), Enqueued::Merged);
    assert_eq!(queue.enqueue(item("other"), soon(2)), Enqueued::Full);
    let start = Instant::now();
    let mut seen = queue.next().await.expect("an entry");
    assert_eq!(start.elapsed().as_secs(), 2);
    assert_eq!(queue.len(), 1, "an entry that is looked at keeps its place");
    seen.reconciles = 1;
    queue.requeue(seen, soon(3600));
    assert_eq!(
        queue.enqueue(item("other"), soon(2)),
        Enqueued::Queued,
        "what was seen to exist keeps nobody out"
    );
}

#[tokio::test(start_paused = true)]
async fn a_change_ends_a_wait_early_also_during_a_look() {
    let queue = Queue::new(9);
    let name = item("web").failure.release;
    let wakeup = |at_rest, failing| Wakeup {
        due: soon(1),
        failing,
        at_rest,
        others_recovered_since: None,
    };
    assert!(!queue.wake(&name, wakeup(true, None)));
    queue.enqueue(item("web"), soon(60));
    assert!(queue.wake(&name, wakeup(true, None)));
    let start = Instant::now();
    let taken = queue.next().await.expect("an entry");
    assert_eq!(start.elapsed().as_secs(), 1);
    assert!(queue.wake(&name, wakeup(true, None)));
    queue.requeue(taken, soon(60));
    let taken = queue.next().await.expect("an entry");
    assert_eq!(start.elapsed().as_secs(), 2);
    // What fails during a look that came too early to see it is looked at once more.
    assert!(queue.wake(&name, wakeup(false, Some("uid"))));
    queue.finish(taken);
    let taken = queue.next().await.expect("an entry");
    assert!(queue.wake(&name, wakeup(true, None)));
    queue.finish(taken);
    assert!(queue.is_empty(), "what does not fail is not");
}

#[tokio::test(start_paused = true)]
async fn an_alert_during_a_look_leads_to_another_look() {
    let queue = Queue::new(9);
    queue.enqueue(item("web"), soon(0));
    let taken = queue.next().await.expect("an entry");
    queue.enqueue(item("web"), soon(2));
    queue.finish(taken);
    let taken = queue.next().await.expect("the second entry");
    queue.finish(taken);
    assert!(queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn of_two_objects_of_one_name_neither_alert_decides_which_lives() {
    let queue = Queue::new(9);
    for uid in ["new", "old"] {
        let mut item = item("web");
        item.failure.uid = Some(uid.into());
        queue.enqueue(item, soon(1));
    }
    assert_eq!(queue.next().await.expect("an entry").failure.uid, None);
}

#[tokio::test(start_paused = true)]
async fn another_object_of_the_name_that_fails_is_looked_at_in_its_own_right() {
    let queue = Queue::new(9);
    let mut old = item("web");
    old.failure.uid = Some("old".into());
    let name = old.failure.release.clone();
    queue.enqueue(old, soon(60));
    queue.wake(
        &name,
        Wakeup {
            due: soon(1),
            failing: Some("new"),
            at_rest: true,
            others_recovered_since: None,
        },
    );
    let taken = queue.next().await.expect("an entry");
    assert_eq!((taken.failure.uid, taken.source), (None, Source::Watch));
}

#[tokio::test(start_paused = true)]
async fn a_closed_queue_gives_out_what_is_due_and_takes_nothing() {
    let queue = Queue::new(9);
    queue.enqueue(item("due"), soon(0));
    queue.enqueue(item("later"), soon(60));
    queue.enqueue(item("soon"), soon(2));
    queue.close(Duration::from_secs(3));
    assert_eq!(queue.enqueue(item("new"), soon(0)), Enqueued::Closed);
    assert_eq!(
        &*queue.next().await.expect("an entry").failure.release.name,
        "due"
    );
    assert_eq!(
        &*queue.next().await.expect("an entry").failure.release.name,
        "soon"
    );
    assert!(queue.next().await.is_none());
}
