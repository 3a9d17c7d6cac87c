//! An engine on a thread of its own: many who submit, some who leave, and what they are told when it stalls or ends.

use std::time::{Duration, Instant};

use proxytune::engine::{Handle, Settings, State};
use proxytune::generate::event::Kind;
use proxytune::generate::{Answer, Event, Finish, Request};
use proxytune::steer::{Role, Sampled, Texts};

use crate::engine::{PROMPTS, alone, engine, greedy_of, invariant, parts, slots, unending, with_context};
use crate::trio::{PROMPT, demo};

#[test]
fn a_handle_serves_threads() {
    let plan = with_context(demo(1.0), &invariant());
    let mut solo = engine(&plan, Texts::ONE, slots(1));
    let requests: Vec<_> = PROMPTS.iter().map(|prompt| Request { n_predict: Some(12), ..greedy_of(prompt) }).collect();
    let expected: Vec<_> = requests.iter().map(|request| alone(&mut solo, request)).collect();
    let handle = Handle::spawn(engine(&plan, Texts::apart(3), slots(3))).expect("a thread");
    std::thread::scope(|scope| {
        for (request, expected) in requests.iter().zip(&expected) {
            let handle = handle.clone();
            scope.spawn(move || {
                let mut answer = Answer::default();
                for event in handle.submit(request.clone()).expect("it is taken in") {
                    answer.add(event);
                }
                assert_eq!(parts(&answer), parts(expected));
            });
        }
        // One that nobody listens to any more, and one that is cancelled.
        let endless = Request { sampling: unending(), ..Request::prompt("The dog was") };
        drop(handle.submit(endless.clone()).expect("it is taken in"));
        let mut running = handle.submit(endless).expect("it is taken in");
        let first = running.next().expect("an event");
        assert!(matches!(first, Event::Started(_)), "{first:?}");
        handle.cancel(running.id);
        let last = running.last().expect("an end");
        assert!(matches!(&last, Event::Done(done) if done.finish == Finish::Cancelled), "{last:?}");
    });
    // A request that cannot be run fails by an event.
    let bad = Request { sampled: Sampled::Alone(Role::Expert(3)), ..greedy_of(PROMPT) };
    let events: Vec<_> = handle.submit(bad).expect("it is sent").collect();
    assert!(matches!(&events[..], [Event::Failed(failed)] if failed.failure.kind == Kind::Request), "{events:?}");
}

/// A decode that never comes back: who waits is told, and new requests are refused until it does.
#[test]
fn a_stalled_engine_is_told_to_those_who_wait() {
    let plan = with_context(demo(1.0), &invariant());
    let settings = Settings { watchdog: Some(Duration::from_millis(200)), ..slots(1) };
    let mut stalling = engine(&plan, Texts::ONE, settings);
    let (release, released) = crossbeam_channel::bounded::<()>(0);
    stalling.ensemble_mut().break_where(move |role, _| {
        if role == Role::Base {
            // Until the test lets go.
            let _ = released.recv();
        }
        false
    });
    let handle = Handle::spawn(stalling).expect("a thread");
    // Whatever is asserted: the thread must be let go before it is waited for.
    let release = release;
    let running = handle.submit(greedy_of(PROMPT)).expect("it is taken in");
    let last = running.last().expect("an end");
    assert!(matches!(&last, Event::Failed(failed) if failed.failure.message.contains("stalled")), "{last:?}");
    let health = handle.health();
    assert!(matches!(&health.state, State::Down { failure } if failure.message.contains("stalled")), "{health:?}");
    assert!(health.age > Duration::from_millis(200) && !health.has_ended, "{health:?}");
    assert_eq!(handle.submit(greedy_of(PROMPT)).expect_err("refused").kind, Kind::Unavailable);
    drop(release);
    // It came back after all.
    let began = Instant::now();
    let running = loop {
        match handle.submit(greedy_of(PROMPT)) {
            Ok(running) => break running,
            Err(_) => assert!(began.elapsed() < Duration::from_secs(60), "it does not recover"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(matches!(running.last(), Some(Event::Done(_))));
    assert!(matches!(handle.health().state, State::Ready(_)));
}

#[test]
fn who_outlives_the_engine_is_told() {
    let plan = with_context(demo(1.0), &invariant());
    let handle = Handle::spawn(engine(&plan, Texts::ONE, slots(1))).expect("a thread");
    let running = handle.submit(Request { sampling: unending(), ..Request::prompt(PROMPT) }).expect("it is taken in");
    let waiting = handle.submit(greedy_of(PROMPT)).expect("it is taken in");
    drop(handle);
    for running in [running, waiting] {
        let last = running.last().expect("an end");
        assert!(matches!(&last, Event::Failed(failed) if failed.failure.message.contains("has ended")), "{last:?}");
    }
}
