//! An engine in a process of its own, which is killed, stopped and abandoned.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use proxytune::engine::{Child, Engine, Handle, Id, Planned, Question, Reply, Settings, Setup, State};
use proxytune::generate::event::{Failure, Kind};
use proxytune::generate::{Answer, Event, Finish, Request};
use proxytune::llama::context::ContextParams;
use proxytune::recipe::View;
use proxytune::sampling::Sampling;
use proxytune::steer::{Ensemble, ModelSource, Models, Plan, Role, SidePlan, Texts, WeightsRequest};

use crate::engine::{PROMPTS, greedy_of, invariant, parts, unending, with_context};
use crate::trio::{PROMPT, alphas, backend, demo, plan};

const PROXYTUNE: &str = env!("CARGO_BIN_EXE_proxytune");
const N_CTX: usize = 8192;
/// Longer than anything here takes on a busy machine; nothing waits so long but what would hang.
const DEADLINE: Duration = Duration::from_secs(120);

/// With room for texts that last for seconds.
fn trio(n_texts: usize) -> Plan {
    let context = ContextParams { n_ctx: N_CTX, ..invariant() };
    Plan { texts: Texts::apart(n_texts), ..with_context(demo(1.0), &context) }
}

fn settings(n_slots: usize, n_queue: usize) -> Settings {
    Settings { n_slots, n_queue, n_chunk: 7, watchdog: None }
}

fn setup(plans: Vec<Planned>, settings: Settings) -> Setup {
    Setup { plans, settings, rpc: Vec::new(), verbose: false }
}

fn supervise(settings: Settings) -> Handle {
    let setup = setup(vec![trio(settings.n_slots).into()], settings);
    let handle = Handle::supervise(Child::proxytune(PROXYTUNE), setup).expect("it starts");
    handle.wait().expect("it loads");
    handle
}

/// A shell in place of the program.
fn shell(script: &str) -> Child {
    Child { program: "sh".into(), args: vec!["-c".into(), script.into(), PROXYTUNE.into()] }
}

fn supervise_shell(script: &str, watchdog: Option<Duration>) -> Handle {
    let settings = Settings { watchdog, ..settings(1, 8) };
    Handle::supervise(shell(script), setup(vec![trio(1).into()], settings)).expect("it starts")
}

/// A request's events, none of which is waited for in vain.
struct Heard {
    id: Id,
    events: Receiver<Event>,
}

impl Heard {
    fn next(&self) -> Event {
        self.events.recv_timeout(DEADLINE).expect("an event")
    }

    /// Up to the first token.
    fn writes(&self) {
        while !matches!(self.next(), Event::Token(_)) {}
    }

    fn last(&self) -> Event {
        loop {
            let event = self.next();
            if event.is_last() {
                return event;
            }
        }
    }

    fn failure(&self) -> Failure {
        match self.last() {
            Event::Failed(failed) => failed.failure,
            event => panic!("{event:?}"),
        }
    }

    fn answer(&self) -> Answer {
        let mut answer = Answer::default();
        loop {
            let event = self.next();
            let is_last = event.is_last();
            answer.add(event);
            if is_last {
                return answer;
            }
        }
    }
}

fn submit(handle: &Handle, ensemble: usize, request: Request) -> Result<Heard, Failure> {
    let (sender, events) = channel();
    let id = handle.submit_with(ensemble, request, Box::new(move |event| sender.send(event).is_ok()))?;
    Ok(Heard { id, events })
}

fn run(handle: &Handle, request: Request) -> Answer {
    submit(handle, 0, request).expect("it is taken in").answer()
}

fn endless() -> Request {
    Request { sampling: unending(), ..Request::prompt(PROMPTS[4]) }
}

fn short() -> Request {
    Request { n_predict: Some(12), n_probs: Some(2), ..greedy_of(PROMPT) }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < DEADLINE, "{what}: it does not come to that");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(name: &str, pid: u32) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().expect("a shell");
    assert!(status.success(), "kill -{name} {pid}");
}

fn pid(handle: &Handle) -> u32 {
    handle.health().pid.expect("a process")
}

/// Whether a process runs. One that has ended may be there until its parent, or the first process, asks how.
fn is_alive(pid: u32) -> bool {
    let output = Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().expect("ps");
    let state = String::from_utf8_lossy(&output.stdout);
    !state.trim().is_empty() && !state.trim().starts_with('Z')
}

#[test]
fn texts_are_those_of_a_thread() {
    let plan = trio(3);
    let ensemble = Ensemble::load(&backend(), &plan, &mut Models::default(), &mut |_, _, _| true).expect("it loads");
    let thread = Handle::spawn(Engine::new(ensemble, settings(3, 8))).expect("a thread");
    let process = supervise(settings(3, 8));
    let sampling = Sampling { seed: Some(3), ..Sampling::default() };
    let requests: Vec<_> = PROMPTS
        .iter()
        .flat_map(|prompt| {
            let greedy = Request { n_predict: Some(16), n_probs: Some(2), ..greedy_of(prompt) };
            [Request { sampling: sampling.clone(), ..greedy.clone() }, greedy]
        })
        .take(11)
        .collect();
    let together = |handle: &Handle| -> Vec<Answer> {
        let running: Vec<_> = requests.iter().map(|request| submit(handle, 0, request.clone())).collect();
        running.into_iter().map(|running| running.expect("it is taken in").answer()).collect()
    };
    for (one, other) in together(&thread).iter().zip(&together(&process)) {
        assert_eq!((&one.failure, parts(one)), (&None, parts(other)));
        assert_eq!(one.started.prompts, other.started.prompts);
    }
    let State::Ready(about) = process.health().state else { panic!("{process:?}") };
    assert_eq!(State::Ready(about), thread.health().state);
}

/// On a thread and in a process: a text is steered while it is written, and before its long prompt is even tokenised.
#[test]
fn texts_are_steered_wherever_they_run() {
    let plan = trio(1);
    let ensemble = Ensemble::load(&backend(), &plan, &mut Models::default(), &mut |_, _, _| true).expect("it loads");
    let thread = Handle::spawn(Engine::new(ensemble, settings(1, 8))).expect("a thread");
    let process = supervise(settings(1, 8));
    for handle in [&thread, &process] {
        let running = submit(handle, 0, endless()).expect("it is taken in");
        let (mut tokens, mut position) = (Vec::new(), None);
        while position.is_none_or(|position| tokens.len() < position + 20) {
            match running.next() {
                Event::Token(token) => {
                    tokens.push(token.token);
                    if tokens.len() == 3 {
                        handle.steer(running.id, alphas(&[0.25]));
                    }
                }
                Event::Steered(steered) => {
                    assert_eq!((steered.position, &steered.alpha), (tokens.len(), &alphas(&[0.25]).alpha));
                    position = Some(tokens.len());
                }
                _ => {}
            }
        }
        handle.cancel(running.id);
        running.last();
        let alpha = format!("1@0,0.25@{}", position.expect("it is told")).parse().expect("a schedule");
        let weights = WeightsRequest { alpha: vec![alpha], ..WeightsRequest::default() };
        let expected = run(handle, Request { weights, n_predict: Some(tokens.len()), ..endless() });
        assert_eq!(tokens, expected.tokens);

        let long = Request { n_predict: Some(8), ..greedy_of(&PROMPT.repeat(450)) };
        let first = submit(handle, 0, long.clone()).expect("it is taken in");
        for alpha in [0.5, 0.0] {
            handle.steer(first.id, alphas(&[alpha]));
        }
        let answer = first.answer();
        assert_eq!(answer.failure, None);
        assert_eq!(answer.tokens, run(handle, Request { weights: alphas(&[0.0]), ..long.clone() }).tokens);
        assert_ne!(answer.tokens, run(handle, long).tokens);

        for alpha in [f32::NAN, 11.0] {
            let running = submit(handle, 0, endless()).expect("it is taken in");
            handle.steer(running.id, alphas(&[alpha]));
            assert_eq!(running.failure().kind, Kind::Request);
        }
        // Whoever has ended hears nothing.
        handle.steer(running.id, alphas(&[1.0]));
        assert_eq!(run(handle, short()).failure, None);
    }
    assert_eq!(process.health().n_restarts, 0);
}

/// In the middle of a prompt, and of a text; with others that wait.
#[test]
fn whoever_waits_for_a_process_that_dies_is_told_and_the_next_answer_is_the_same() {
    for name in ["KILL", "ABRT", "TERM"] {
        let handle = supervise(settings(1, 8));
        let clean = run(&handle, short());
        assert_eq!(clean.failure, None);
        for (n_restarts, in_prompt) in [(1, true), (2, false)] {
            let running = submit(&handle, 0, endless()).expect("it is taken in");
            let waiting = submit(&handle, 0, short()).expect("it is taken in");
            assert!(matches!(running.next(), Event::Started(_)));
            if !in_prompt {
                running.writes();
            }
            let dead = pid(&handle);
            signal(name, dead);
            for failure in [running.failure(), waiting.failure()] {
                assert_eq!(failure.kind, Kind::Internal);
                assert!(failure.message.contains(&format!("SIG{name}")), "{failure}");
                assert!(failure.message.contains("started again") && failure.hint.is_some(), "{failure:?}");
            }
            handle.wait().expect("it is loaded again");
            assert_ne!(pid(&handle), dead);
            assert_eq!(handle.health().n_restarts, n_restarts);
            assert_eq!(parts(&run(&handle, short())), parts(&clean));
        }
    }
}

/// Requests come from all sides while processes die: each is answered, refused, or told of the end.
#[test]
fn nobody_is_forgotten_while_processes_die() {
    const N_KILLED: usize = 2;
    let handle = supervise(settings(3, 8));
    let clean = run(&handle, short());
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(|| {
                    let mut n_done = [0, 0];
                    // As many answers after the last death as it takes to be sure of it.
                    while n_done[1] < 8 {
                        let is_late = handle.health().n_restarts == N_KILLED;
                        match submit(&handle, 0, short()) {
                            Ok(heard) => match heard.answer() {
                                Answer { failure: Some(failure), .. } => assert_eq!(failure.kind, Kind::Internal),
                                answer => {
                                    assert_eq!(parts(&answer), parts(&clean));
                                    n_done[usize::from(is_late)] += 1;
                                }
                            },
                            Err(failure) => {
                                assert_eq!(failure.kind, Kind::Unavailable);
                                handle.wait().expect("it comes back");
                            }
                        }
                        match handle.ask(tokenise(PROMPT)) {
                            Ok(reply) => assert!(matches!(reply, Reply::Tokens(_))),
                            Err(failure) => assert!(matches!(failure.kind, Kind::Internal | Kind::Unavailable)),
                        }
                    }
                    n_done
                })
            })
            .collect();
        for n_restarts in 1..=N_KILLED {
            signal("KILL", pid(&handle));
            until("it is started again", || handle.health().n_restarts == n_restarts);
            handle.wait().expect("it is loaded again");
        }
        for asking in asking {
            asking.join().expect("every request has an end");
        }
    });
    until("nothing runs", || (handle.health().n_running, handle.health().n_waiting) == (0, 0));
}

/// A process that stands still tells nothing; one whose decode does not come back tells that.
#[test]
fn a_process_that_does_not_answer_is_ended() {
    let watchdog = Some(Duration::from_millis(500));
    let handle = supervise(Settings { watchdog, ..settings(1, 8) });
    let clean = run(&handle, short());
    let running = submit(&handle, 0, endless()).expect("it is taken in");
    running.writes();
    let stopped = pid(&handle);
    signal("STOP", stopped);
    let failure = running.failure();
    assert!(failure.message.contains("it told nothing for 10 s"), "{failure}");
    handle.wait().expect("it is loaded again");
    assert!(!is_alive(stopped));
    assert_eq!(parts(&run(&handle, short())), parts(&clean));

    let beat = r#"{"engine":{"beat":{"n_running":1,"n_waiting":0,"age":{"secs":5,"nanos":0},"slots":[]}}}"#;
    let stalling =
        format!("read setup; echo '{{\"engine\":{{\"ready\":[]}}}}'; read request; echo '{beat}'; read more");
    let handle = supervise_shell(&stalling, watchdog);
    handle.wait().expect("it says so");
    let running = submit(&handle, 0, short()).expect("it is taken in");
    let failure = running.failure();
    assert!(failure.message.contains("nothing was decoded for 5.0 s"), "{failure}");
}

/// Not a test by itself: the parent that is killed.
#[test]
fn a_parent() {
    if std::env::var_os("PROXYTUNE_TEST_PARENT").is_none() {
        return;
    }
    let handle = supervise(settings(1, 8));
    let running = submit(&handle, 0, endless()).expect("it is taken in");
    running.writes();
    println!("\nchild {}", pid(&handle));
    loop {
        std::thread::park();
    }
}

#[test]
fn a_process_ends_with_its_parent() {
    let mut parent = Command::new(std::env::current_exe().expect("this program"))
        .args(["process::a_parent", "--exact", "--nocapture"])
        .env("PROXYTUNE_TEST_PARENT", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let stdout = BufReader::new(parent.stdout.take().expect("a pipe"));
    let child = stdout.lines().find_map(|line| line.expect("text").strip_prefix("child ")?.parse().ok());
    let child: u32 = child.expect("its child");
    assert!(is_alive(child));
    parent.kill().expect("it runs");
    parent.wait().expect("it has ended");
    until("the child of a parent that was killed ends", || !is_alive(child));
}

#[test]
fn a_process_ends_with_its_last_handle() {
    for at_once in [false, true] {
        let handle = supervise(settings(1, 8));
        let running = submit(&handle, 0, endless()).expect("it is taken in");
        running.writes();
        let (child, other) = (pid(&handle), handle.clone());
        if at_once {
            other.kill();
            assert!(running.failure().message.contains("has ended"));
            until("it has ended", || handle.health().has_ended);
            assert_eq!(handle.submit(short()).expect_err("refused").kind, Kind::Unavailable);
        }
        drop(handle);
        assert_eq!(is_alive(child), !at_once);
        drop(other);
        assert!(!is_alive(child), "it has ended when the last handle is gone");
        if !at_once {
            assert!(running.failure().message.contains("has ended"));
        }
    }
}

#[test]
fn what_cannot_be_loaded_is_told_once_and_for_all() {
    let start = |child: Child, plan: Plan| Handle::supervise(child, setup(vec![plan.into()], settings(1, 8)));
    let missing = Plan::alone(ModelSource::new("/nowhere/missing.gguf"));
    let handle = start(Child::proxytune(PROXYTUNE), missing).expect("it starts");
    let failure = handle.wait().expect_err("no file");
    assert!(failure.message.contains("base: ") && failure.message.contains("missing.gguf"), "{failure}");
    let health = handle.health();
    assert!(health.has_ended && health.pid.is_none() && health.n_restarts == 0, "{health:?}");
    assert_eq!(health.state, State::Down { failure: failure.clone() });
    let refused = handle.submit(short()).expect_err("refused");
    assert_eq!((refused.kind, refused.message), (Kind::Unavailable, failure.message));

    // A number that JSON does not have.
    let handle = start(Child::proxytune(PROXYTUNE), with_alpha(f32::NAN)).expect("it starts");
    let failure = handle.wait().expect_err("no set-up");
    assert!(failure.message.contains("the set-up cannot be read"), "{failure}");

    // One that dies before it was ever loaded is tried again, and not without end.
    let handle = start(shell("exit 7"), trio(1)).expect("it starts");
    let failure = handle.wait().expect_err("it never loads");
    assert!(failure.message.contains("exit status: 7") && failure.message.contains("every start"), "{failure}");
    assert_eq!(handle.health().n_restarts, 2);

    let none = start(Child::proxytune("/nowhere/proxytune"), trio(1)).expect_err("no program");
    assert_eq!(none.kind(), std::io::ErrorKind::NotFound);
    for plans in [Vec::new(), vec![Planned { plan: trio(1), lazy: true }]] {
        let refused = Handle::supervise(Child::proxytune(PROXYTUNE), setup(plans, settings(1, 8)));
        assert_eq!(refused.expect_err("no plan").kind(), std::io::ErrorKind::InvalidInput);
    }
}

fn with_alpha(alpha: f32) -> Plan {
    with_context(demo(alpha), &invariant())
}

/// Libraries and wrappers may write to stdout.
#[test]
fn talk_on_stdout_does_no_harm() {
    let talk = r#"echo garbage; printf '\377\033[31m\0 {"engine":'; echo; echo '{"a": 1}'; printf 'no end of line'"#;
    let handle = supervise_shell(&format!("{talk}; exec \"$0\" @@engine"), None);
    handle.wait().expect("it loads");
    assert_eq!(run(&handle, short()).failure, None);
    assert_eq!(handle.health().n_restarts, 0);
}

/// An event that is lost would be waited for without end.
#[test]
fn a_frame_that_cannot_be_read_ends_the_process() {
    let broken = r#"read setup; echo '{"engine":{"ready":[]}}'; read request; echo '{"engine":{"even'; read more"#;
    let handle = supervise_shell(broken, None);
    handle.wait().expect("it says so");
    let failure = submit(&handle, 0, short()).expect("it is taken in").failure();
    assert!(failure.message.contains("cannot be read"), "{failure}");
}

#[test]
fn a_question_that_is_open_when_the_process_dies_is_answered_so() {
    let handle = supervise_shell(r#"read setup; echo '{"engine":{"ready":[]}}'; read question; exit 3"#, None);
    handle.wait().expect("it says so");
    let failure = handle.ask(tokenise("x")).expect_err("no answer");
    assert_eq!(failure.kind, Kind::Internal);
    assert!(failure.message.contains("exit status: 3"), "{failure}");
}

/// Its stdout stays open where something that it started has it too.
#[test]
fn a_process_is_dead_though_its_pipes_are_open() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pid");
    let start = format!("sleep 1000 & echo $! > '{}'", file.display());
    let script = format!("read setup; {start}; echo '{{\"engine\":{{\"ready\":[]}}}}'; read request; exit 4");
    let handle = supervise_shell(&script, None);
    handle.wait().expect("it says so");
    let grandchild = std::fs::read_to_string(&file).expect("its number").trim().parse().expect("a number");
    let failure = submit(&handle, 0, short()).expect("it is taken in").failure();
    assert!(failure.message.contains("exit status: 4"), "{failure}");
    assert!(is_alive(grandchild));
    handle.wait().expect("it is started again");
    drop(handle);
    let next = std::fs::read_to_string(&file).expect("its number").trim().parse().expect("a number");
    for pid in [grandchild, next] {
        signal("KILL", pid);
    }
}

/// Whoever comes while it is being loaded is sent away, and so is one too many.
#[test]
fn a_process_that_is_not_ready_or_full_takes_no_more() {
    let slow = supervise_shell("read setup; read more", None);
    assert!(matches!(slow.health().state, State::Loading { .. }), "{slow:?}");
    assert_eq!(slow.submit(short()).expect_err("refused").kind, Kind::Unavailable);
    assert_eq!(slow.ask(tokenise("x")).expect_err("refused").kind, Kind::Unavailable);
    drop(slow);

    let handle = supervise(settings(2, 1));
    let taken: Vec<_> = (0..3).map(|_| submit(&handle, 0, endless()).expect("it is taken in")).collect();
    assert_eq!(handle.submit(short()).expect_err("refused").kind, Kind::Busy);
    until("two run and one waits", || (handle.health().n_running, handle.health().n_waiting) == (2, 1));
    let slots = handle.health().slots;
    assert_eq!(slots.iter().map(|slot| slot.id).collect::<Vec<_>>(), [taken[0].id, taken[1].id]);
    for running in &taken {
        handle.cancel(running.id);
        let last = running.last();
        assert!(matches!(&last, Event::Done(done) if done.finish == Finish::Cancelled), "{last:?}");
    }
    // The last event of a request makes room for another.
    assert_eq!(run(&handle, short()).failure, None);
    until("nothing runs", || handle.health().n_running == 0 && handle.health().slots.is_empty());
}

#[test]
fn a_text_that_nobody_listens_to_is_cancelled() {
    let handle = supervise(settings(1, 8));
    drop(handle.submit(endless()).expect("it is taken in"));
    handle.submit_with(0, endless(), Box::new(|_| panic!("a listener's own fault"))).expect("it is taken in");
    assert_eq!(run(&handle, short()).failure, None, "it got the slot");
    assert_eq!(handle.health().n_restarts, 0);
}

#[test]
fn a_request_that_cannot_be_sent_or_run_fails_alone() {
    let handle = supervise(settings(2, 8));
    let running = submit(&handle, 0, endless()).expect("it is taken in");
    let sampling = Sampling { temp: f32::NAN, ..Sampling::default() };
    for bad in [
        Request { sampling, ..short() },
        Request { weights: crate::trio::alphas(&[f32::INFINITY]), ..short() },
        Request { sampled: proxytune::steer::Sampled::Alone(Role::Expert(3)), ..short() },
    ] {
        assert_eq!(submit(&handle, 0, bad).expect("it is sent").failure().kind, Kind::Request);
    }
    assert_eq!(submit(&handle, 5, short()).expect("it is sent").failure().kind, Kind::Request);
    running.writes();
    handle.cancel(running.id);
    assert!(matches!(running.last(), Event::Done(_)));
    assert_eq!(handle.health().n_restarts, 0);
}

fn tokenise(text: &str) -> Question {
    Question::Tokenise {
        ensemble: 0,
        role: Role::Base,
        text: text.to_owned(),
        add_special: false,
        parse_special: false,
    }
}

#[test]
fn a_thousand_questions_are_answered_beside_a_text() {
    let handle = supervise(settings(1, 8));
    let running = submit(&handle, 0, endless()).expect("it is taken in");
    running.writes();
    let Ok(Reply::Tokens(expected)) = handle.ask(tokenise(PROMPT)) else { panic!("no tokens") };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..250 {
                    assert_eq!(handle.ask(tokenise(PROMPT)), Ok(Reply::Tokens(expected.clone())));
                }
            });
        }
    });
    let bad = Question::Detokenise { ensemble: 0, role: Role::Base, tokens: vec![-1] };
    assert_eq!(handle.ask(bad).expect_err("refused").kind, Kind::Request);
    handle.cancel(running.id);
    assert!(matches!(running.last(), Event::Done(_)));
}

#[test]
fn an_ensemble_is_opened_in_the_process_for_its_first_request() {
    let view = View { prompt: Some("The meeting was".to_owned()), ..View::default() };
    let guided = [(0.5, Some(SidePlan::base()), Some(SidePlan::base().seen_as(view)))];
    let guided = with_context(plan("base", &guided), &invariant());
    let vast = with_context(guided.clone(), &ContextParams { n_ctx: 1 << 24, ..invariant() });
    let lazy = |plan: &Plan| Planned { plan: plan.clone(), lazy: true };
    let plans = vec![trio(1).into(), lazy(&guided), lazy(&vast)];
    let handle = Handle::supervise(Child::proxytune(PROXYTUNE), setup(plans, settings(1, 8))).expect("it starts");
    let about = handle.wait().expect("it loads");
    assert_eq!(about.iter().map(|about| about.n_ctx).collect::<Vec<_>>(), [N_CTX, 256, 1 << 24]);
    let expected = crate::trio::load(&guided).expect("it loads").run(&short());
    let answer = submit(&handle, 1, short()).expect("it is taken in").answer();
    assert_eq!(parts(&answer), parts(&expected));
    assert_eq!(submit(&handle, 2, short()).expect("it is taken in").failure().kind, Kind::Internal);
    assert_eq!(run(&handle, short()).failure, None, "the others go on");
    assert_eq!(handle.health().n_restarts, 0);
}
