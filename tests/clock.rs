//! The guarded clock against a model of true time: random histories of a machine whose wall is set, drifts and is nudged, which
//! sleeps, is paused by its host, restarts and boots. Two halves are held: nothing is served late, nothing is destroyed early.
//!
//! What is served at an expiry that has truly passed is served late: a trusted clock must never have a `hi` before true time. What is
//! destroyed before its expiry has truly passed is destroyed early: `due` must not be after true time, but for what the budget allows.
//! Each property says what it assumes of the machine.

#![expect(clippy::arithmetic_side_effects, clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[path = "clock/machine.rs"]
mod machine;

use chrono::TimeDelta;
use idvault::clock::{Clock, Limits, NotAccepted, Reading, Times};
use machine::{Event, Machine};
use proptest::prelude::*;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const MAX_JUMP: i64 = HOUR;
const NEVER: TimeDelta = TimeDelta::days(100_000);
const LIMITS: Limits = Limits { max_jump: TimeDelta::seconds(MAX_JUMP), max_gap: TimeDelta::days(7), grace: TimeDelta::days(1) };
const PATIENT: Limits = Limits { grace: NEVER, ..LIMITS };

fn pass() -> impl Strategy<Value = Event> {
    (prop_oneof![0..5 * HOUR, 0..40 * HOUR], -100..100_i64).prop_map(|(time, drift)| Event::Pass(time, drift))
}

fn nudge() -> impl Strategy<Value = Event> {
    prop_oneof![-HOUR..HOUR, 0..HOUR / 2, Just(MAX_JUMP), Just(MAX_JUMP + 1)].prop_map(Event::Nudge)
}

fn set() -> impl Strategy<Value = Event> {
    prop_oneof![Just(0), -2 * HOUR..2 * HOUR, -40 * DAY..40 * DAY].prop_map(Event::Set)
}

fn restart() -> impl Strategy<Value = Event> {
    (0..2 * DAY).prop_map(Event::Restart)
}

fn reboot(most: i64) -> impl Strategy<Value = Event> {
    prop_oneof![0..HOUR, 0..most].prop_map(Event::Reboot)
}

proptest! {
    /// Within one boot, whatever the wall does: `lo` is true time, so nothing is served late, and nothing is destroyed early but within
    /// the budget, over restarts too. Assumed: the boot clock counts true time, and no wrong wall stands for the grace period.
    #[test]
    fn within_one_boot(events in prop::collection::vec(prop_oneof![pass(), nudge(), set(), restart()], 1..60)) {
        let mut machine = Machine::new(PATIENT);
        for event in events {
            machine.happens(&event);
            machine.serves_nothing_late();
            machine.destroys_nothing_early();
            prop_assert_eq!(machine.times().lo, machine.truth);
        }
    }

    /// Across boots, if the wall is right when the machine has booted, within `max_gap`, or an operator who accepts it is right: the same
    /// halves, whatever the wall does at all other times. Assumed besides: as within one boot.
    #[test]
    fn across_boots_with_a_wall_that_is_right_then(
        events in prop::collection::vec(prop_oneof![pass(), nudge(), set(), restart(), reboot(6 * DAY), Just(Event::Accept)], 1..60)
    ) {
        let mut machine = Machine::new(PATIENT);
        for event in events {
            if let Event::Reboot(off) = event {
                // Set while the vault does not run: what it has seen last may be anything.
                let saved = machine.saved();
                machine.error = 0;
                machine.boot(saved, off);
            } else {
                machine.happens(&event);
            }
            machine.serves_nothing_late();
            machine.destroys_nothing_early();
            prop_assert!(machine.times().lo <= machine.truth);
        }
    }

    /// A wall that is nudged ahead while the vault looks, and stays so over boots: it destroys nothing early but within the budget. A
    /// boot renews no budget and ends no doubt.
    #[test]
    fn across_boots_with_a_wall_that_is_nudged_ahead(
        events in prop::collection::vec(prop_oneof![pass(), nudge(), restart(), reboot(DAY)], 1..60)
    ) {
        let mut machine = Machine::new(PATIENT);
        for event in events {
            machine.happens(&event);
            machine.set_error(machine.error.max(0));
            machine.destroys_nothing_early();
        }
    }

    /// A wall that is right on a boot clock that loses time, since its host pauses it: nothing is served late nor destroyed early at
    /// all, and no doubt outlasts the grace period. Assumed: the wall is right.
    #[test]
    fn paused_by_its_host_with_a_wall_that_is_right(
        events in prop::collection::vec(
            prop_oneof![
                (0..40 * HOUR).prop_map(|time| Event::Pass(time, 0)),
                prop_oneof![0..HOUR, 0..20 * DAY].prop_map(Event::Pause),
                restart(),
                reboot(20 * DAY),
                Just(Event::Accept),
            ],
            1..60,
        )
    ) {
        let mut machine = Machine::new(LIMITS);
        for event in events {
            machine.happens(&event);
            machine.serves_nothing_late();
            prop_assert!(machine.times().due <= machine.truth);
            let standing = machine.clock.standing();
            prop_assert!(standing.doubted.is_none_or(|(since, until)| since <= standing.lo && standing.lo < until));
        }
    }

    /// A wall that gains honestly is trusted for ever, over restarts and boots.
    #[test]
    fn an_honest_drift_is_never_doubted(drift in 0..10_000_i64, events in prop::collection::vec((0..2 * DAY, 0..12_u8), 1..200)) {
        let mut machine = Machine::new(LIMITS);
        for (time, then) in events {
            // The vault looks each hour at least.
            for _ in 0..=time / HOUR {
                machine.happens(&Event::Pass(HOUR, drift));
                prop_assert!(machine.times().trusted);
            }
            match then {
                0 => machine.restart(time / 100),
                1 => machine.reboot(time),
                _ => {}
            }
            prop_assert!(machine.times().trusted);
        }
    }
}

#[test]
fn a_wall_set_forward_raises_hi_and_destroys_nothing() {
    let mut machine = Machine::new(LIMITS);
    let start = machine.truth;
    machine.set_error(40 * DAY * 1000);
    let times = machine.times();
    assert_eq!((times.lo, times.hi, times.due, times.trusted), (start, start + TimeDelta::days(40), start, false));
    machine.set_error(0);
    assert!(machine.times().trusted);
}

#[test]
fn a_small_lead_of_the_wall_is_followed_and_costs_once() {
    let mut machine = Machine::new(LIMITS);
    let lead = TimeDelta::minutes(59);
    for _ in 0..100 {
        machine.set_error(lead.num_milliseconds());
        assert_eq!((machine.times().due, machine.times().lo), (machine.truth + lead, machine.truth));
        machine.set_error(-40 * DAY * 1000);
        assert_eq!(machine.times(), Times { lo: machine.truth, hi: machine.truth, due: machine.truth, trusted: true });
    }
}

#[test]
fn a_lead_that_grows_again_and_again_has_an_hour_in_any_24() {
    let mut machine = Machine::new(PATIENT);
    let trusted = |machine: &mut Machine, minutes: i64| {
        machine.happens(&Event::Nudge(minutes * 60));
        machine.times().trusted
    };
    assert!(trusted(&mut machine, 40));
    machine.restart(HOUR);
    assert!(trusted(&mut machine, 20));
    machine.restart(22 * HOUR);
    assert!(!trusted(&mut machine, 1), "the first 40 minutes were 23 hours ago");
    machine.restart(2 * HOUR);
    assert!(machine.times().trusted);
    assert!(!trusted(&mut machine, 41), "the other 20 minutes count for an hour more");
}

#[test]
fn without_elapsed_time_every_forward_move_of_the_wall_counts() {
    let mut machine = Machine::new(LIMITS);
    let start = machine.truth;
    machine.hand.0.lock().elapsed = None;
    let hand = Box::new(machine.hand.clone());
    machine.clock = Clock::start(hand, LIMITS, None).unwrap();
    for (days, lo) in [(30, 30), (-10, 30), (10, 40)] {
        machine.hand.0.lock().wall += TimeDelta::days(days);
        assert_eq!(machine.times().lo, start + TimeDelta::days(lo));
        assert!(machine.times().trusted);
    }
}

#[test]
fn a_gap_is_believed_once_the_wall_is_in_bounds() {
    for (days, trusted) in [(6, true), (8, false)] {
        let mut machine = Machine::new(LIMITS);
        let start = machine.truth;
        machine.reboot(days * DAY);
        let lo = if trusted { machine.truth } else { start };
        assert_eq!((machine.times().lo, machine.times().trusted), (lo, trusted), "{days}");
    }
    // A machine that forgets the date when it is off, until it is told.
    let mut machine = Machine::new(LIMITS);
    let start = machine.truth;
    machine.set_error(-20_000 * DAY * 1000);
    assert!(machine.times().trusted, "set back within a boot it changes nothing");
    machine.reboot(3 * DAY);
    assert_eq!((machine.times().lo, machine.times().due, machine.times().trusted), (start, start, false));
    machine.pass(60);
    machine.restart(60);
    assert!(!machine.times().trusted);
    machine.set_error(0);
    assert_eq!((machine.times().lo, machine.times().trusted), (machine.truth, true));
}

#[test]
fn a_wall_that_is_behind_sets_nothing_back() {
    let mut machine = Machine::new(LIMITS);
    let start = machine.truth;
    machine.set_error(-HOUR * 1000);
    machine.reboot(60);
    assert_eq!((machine.times().lo, machine.times().trusted), (start, true), "an hour may be lost");
    machine.set_error(-DAY * 1000);
    machine.reboot(60);
    assert!(!machine.times().trusted);
    machine.accept().unwrap();
    assert_eq!((machine.times().lo, machine.times().trusted), (start, true));
}

#[test]
fn a_lead_is_no_time_that_a_machine_was_off() {
    let mut machine = Machine::new(LIMITS);
    for hours in [0, 25] {
        machine.pass(hours * HOUR);
        machine.happens(&Event::Nudge(MAX_JUMP));
        assert!(machine.times().trusted);
    }
    // The wall says 25 hours and that the machine was off for 25, but the first of its two hours is as old as its lead.
    machine.reboot(23 * HOUR);
    assert!(machine.times().trusted);
    machine.happens(&Event::Nudge(1));
    assert!(!machine.times().trusted);
}

#[test]
fn a_boot_ends_no_doubt() {
    let mut machine = Machine::new(LIMITS);
    machine.set_error(2 * DAY * 1000);
    assert!(!machine.times().trusted);
    machine.reboot(60);
    assert!(!machine.times().trusted);
    machine.set_error(DAY * 1000);
    assert!(!machine.times().trusted, "nor is another wall believed for how long the machine was off");
    machine.set_error(0);
    machine.accept().unwrap();
    assert_eq!((machine.times().lo, machine.times().trusted), (machine.truth, true));
}

#[test]
fn sleep_is_counted_and_a_pause_by_the_host_is_not() {
    let mut machine = Machine::new(LIMITS);
    machine.pass(10 * DAY);
    assert_eq!((machine.times().lo, machine.times().trusted), (machine.truth, true), "asleep, CLOCK_BOOTTIME goes on");
    machine.happens(&Event::Pause(MAX_JUMP));
    assert_eq!((machine.times().due, machine.times().trusted), (machine.truth, true));
    let before = machine.truth;
    machine.happens(&Event::Pause(3 * DAY));
    let times = machine.times();
    assert_eq!((times.hi, times.trusted), (machine.truth, false));
    assert_eq!(times.due, before - TimeDelta::seconds(MAX_JUMP), "what passed for the boot clock");
    machine.accept().unwrap();
    assert_eq!(machine.times(), Times { lo: machine.truth, hi: machine.truth, due: machine.truth, trusted: true });
}

#[test]
fn after_the_grace_period_the_wall_is_believed() {
    let mut machine = Machine::new(LIMITS);
    machine.happens(&Event::Pause(3 * DAY));
    assert!(!machine.times().trusted);
    let (since, until) = machine.clock.standing().doubted.unwrap();
    assert_eq!(until - since, LIMITS.grace);
    // A restart neither begins it anew nor shortens it; nor does a boot.
    machine.pass(10 * HOUR);
    machine.restart(0);
    assert_eq!(machine.clock.standing().doubted, Some((since, until)));
    machine.restart(30 * HOUR);
    assert!(!machine.times().trusted, "nobody was warned while the vault did not run");
    machine.reboot(60);
    machine.pass(14 * HOUR - 1);
    assert_eq!(machine.clock.standing().doubted, Some((since + TimeDelta::hours(30), until + TimeDelta::hours(30))));
    machine.pass(1);
    assert_eq!((machine.times().lo, machine.times().trusted), (machine.truth, true));
}

#[test]
fn another_wall_is_doubted_anew() {
    let mut machine = Machine::new(LIMITS);
    machine.set_error(2 * HOUR * 1000);
    assert!(!machine.times().trusted);
    machine.pass(DAY - 60);
    machine.set_error(60 * DAY * 1000);
    assert!(!machine.times().trusted);
    machine.pass(60);
    assert!(!machine.times().trusted);
    machine.pass(DAY - 61);
    assert!(!machine.times().trusted);
    assert_eq!(machine.times().due, machine.truth);
}

#[test]
fn an_accepted_clock_is_that_clock_and_no_other() {
    let mut machine = Machine::new(LIMITS);
    assert_eq!(machine.accept(), Err(NotAccepted::Trusted));
    let accepted = |machine: &Machine, seen: &Reading| machine.clock.accept(seen).map(drop);
    machine.set_error(3 * DAY * 1000);
    let seen = *machine.hand.0.lock();
    machine.set_error(30 * DAY * 1000);
    assert_eq!(accepted(&machine, &seen), Err(NotAccepted::Moved));
    machine.set_error(3 * DAY * 1000);
    assert_eq!(accepted(&machine, &Reading { boot: [9; 16], ..seen }), Err(NotAccepted::Moved));
    let early = Reading { elapsed: Some(seen.elapsed.unwrap() + TimeDelta::seconds(5)), ..seen };
    assert_eq!(accepted(&machine, &early), Err(NotAccepted::Moved));
    assert!(!machine.times().trusted);
    // The same clock a day later is the same clock.
    machine.pass(HOUR);
    assert_eq!(accepted(&machine, &seen), Ok(()));
    assert_eq!(machine.times().lo, machine.truth + TimeDelta::days(3));
    assert_eq!(accepted(&machine, &seen), Err(NotAccepted::Trusted), "and it is accepted once");
    // A lead that is believed can be accepted too, where it is in the way of uploads.
    machine.happens(&Event::Nudge(360));
    assert!(machine.times().trusted);
    machine.accept().unwrap();
    assert_eq!(machine.times().lo, machine.times().hi);
}

#[test]
fn of_two_that_were_saved_the_later_counts() {
    let mut machine = Machine::new(LIMITS);
    let first = machine.saved();
    machine.set_error(60_000);
    let spent = machine.saved();
    assert!(spent.is_after(&first) && !first.is_after(&spent));
    machine.pass(1);
    let last = machine.saved();
    assert!(last.is_after(&spent) && last.doubts_like(&spent));
}
