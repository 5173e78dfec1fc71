//! The catalogue of alerts that name chargers, or other things of which Prometheus knows only the number. Only Wattpost
//! itself evaluates them.

use super::Severity::{self, Info, Page, Ticket};
use super::{HOUR, MINUTE};

/// An alert that only Wattpost itself evaluates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChargerAlert {
    /// Its name. An alert of two severities has two entries.
    pub name: &'static str,
    /// How soon a person is needed.
    pub severity: Severity,
    /// The condition in words. Thresholds are those of the settings `alerts`.
    pub condition: &'static str,
    /// For how many seconds the condition holds before the alert fires.
    pub for_s: u32,
    /// For how many seconds the condition must not hold before the alert ends.
    pub keep_firing_s: u32,
    /// When it ends, in words.
    pub clears: &'static str,
    /// Whether it is about a charger as the database shows it: then it is judged only while the database is not late.
    pub is_of_charger: bool,
    /// What is lost or at risk.
    pub at_stake: &'static str,
    /// What to do, the most probable cause first.
    pub to_do: &'static str,
}

impl ChargerAlert {
    /// Whether each of its alerts names a charger or a site.
    pub(super) fn is_of_subjects(&self) -> bool {
        let others = [
            "WebhookFailing",
            "NotifierFailing",
            "ChargersNotJudged",
            "ChargersLongOffline",
        ];
        !others.contains(&self.name)
    }
}

/// All of them, those about chargers first.
pub const CHARGER_ALERTS: &[ChargerAlert] = &[
    ChargerAlert {
        name: "SiteOffline",
        severity: Page,
        condition: "of the chargers of a site, `site_offline_percent` (50 %) or more, and `site_offline_min` (3) or more, have lost their connections within `site_offline_within_s` (5 minutes) and are away. Connections that Wattpost or an operator has closed do not count",
        for_s: 2 * MINUTE,
        keep_firing_s: 2 * MINUTE,
        clears: "more than half of the site's chargers (by `site_offline_percent`) have been connected for 2 minutes",
        is_of_charger: true,
        at_stake: "The chargers of this site are not controlled, and drivers may not be able to charge. The chargers keep the messages of their transactions.",
        to_do: "Check the power and the router of the site. Silence the site before a batch that restarts many of its chargers: they close their connections themselves. `ChargerOffline` of its chargers is told only if it still fires afterwards.",
    },
    ChargerAlert {
        name: "ChargerOffline",
        severity: Ticket,
        condition: "a charger has no connection, and it was added, or it has booted and was seen over `charger_known_s` (10 minutes) or longer",
        for_s: 15 * MINUTE,
        keep_firing_s: 2 * MINUTE,
        clears: "it has been connected for 2 minutes",
        is_of_charger: true,
        at_stake: "It is not controlled, and drivers may not be able to charge. It keeps the messages of its transactions.",
        to_do: "Check its power and its modem or network. `GET /api/v1/chargers/{id}/timeline` shows its last messages.",
    },
    ChargerAlert {
        name: "ChargersLongOffline",
        severity: Ticket,
        condition: "chargers had been offline for more than `long_offline_days` (7) days when they were judged first; `ChargerOffline` does not fire for them",
        for_s: 0,
        keep_firing_s: 2 * MINUTE,
        clears: "each has connected or was removed",
        is_of_charger: true,
        at_stake: "They may be out of use. Those that are not cannot be controlled.",
        to_do: "Remove chargers that are out of use (`wattpost charger remove`). Look at the others as with `ChargerOffline`.",
    },
    ChargerAlert {
        name: "ChargerFlapping",
        severity: Ticket,
        condition: "a charger has connected more than `flapping_connects` (6) times within an hour",
        for_s: 0,
        keep_firing_s: 30 * MINUTE,
        clears: "not so for 30 minutes",
        is_of_charger: true,
        at_stake: "Commands often do not reach it, and each connection costs its mobile data.",
        to_do: "Check its signal, and whether its ping interval is longer than the idle timeout of a proxy or of the mobile provider.",
    },
    ChargerAlert {
        name: "BootLoop",
        severity: Ticket,
        condition: "a charger has sent BootNotification more than `boot_loop_boots` (3) times within an hour",
        for_s: 0,
        keep_firing_s: 2 * HOUR,
        clears: "not so for 2 hours",
        is_of_charger: true,
        at_stake: "Each boot ends its transactions.",
        to_do: "Look at its firmware, and at settings that make it boot when they are written.",
    },
    ChargerAlert {
        name: "ConnectorFaulted",
        severity: Page,
        condition: "a connector is Faulted with GroundFailure, HighTemperature or PowerMeterFailure",
        for_s: 2 * MINUTE,
        keep_firing_s: 2 * MINUTE,
        clears: "it has had another status for 2 minutes, or the charger has booted, or connected 10 minutes ago, and says nothing of it",
        is_of_charger: true,
        at_stake: "People may be in danger, or energy is not measured.",
        to_do: "Send a technician. The summary has the charger's own words.",
    },
    ChargerAlert {
        name: "ConnectorFaulted",
        severity: Ticket,
        condition: "a connector is Faulted with another error code, or with none",
        for_s: 2 * MINUTE,
        keep_firing_s: 2 * MINUTE,
        clears: "it has had another status for 2 minutes, or the charger has booted, or connected 10 minutes ago, and says nothing of it",
        is_of_charger: true,
        at_stake: "Nobody can charge there.",
        to_do: "The summary has the error code and the charger's own words. A reset helps with some.",
    },
    ChargerAlert {
        name: "TransactionStuck",
        severity: Ticket,
        condition: "the charger of an open transaction is connected, and the transaction has not changed for `transaction_silent_s` (15 minutes), or it is older than `transaction_hours_max` (48)",
        for_s: 0,
        keep_firing_s: 5 * MINUTE,
        clears: "it has changed or ended 5 minutes ago",
        is_of_charger: true,
        at_stake: "It is not billed, and its connector may look occupied.",
        to_do: "Ask the charger to stop it, or close it (`POST /api/v1/transactions/{key}/close`).",
    },
    ChargerAlert {
        name: "MeterNotMoving",
        severity: Ticket,
        condition: "a connector says Charging and its transaction reports, and its energy has been the same for `meter_still_s` (20 minutes)",
        for_s: 0,
        keep_firing_s: 5 * MINUTE,
        clears: "the energy has grown, or the connector has another status, for 5 minutes",
        is_of_charger: true,
        at_stake: "Energy may flow that is not measured, or the driver waits for nothing.",
        to_do: "Check the contactor, the meter, and whether the car is full.",
    },
    ChargerAlert {
        name: "ChargerClockWrong",
        severity: Info,
        condition: "the latest live status of a charger has a time that is off by more than `clock_error_s` (5 minutes)",
        for_s: 10 * MINUTE,
        keep_firing_s: MINUTE,
        clears: "a status has a right time",
        is_of_charger: true,
        at_stake: "Times of its transactions are wrong.",
        to_do: "The answer to Heartbeat sets the clock of most chargers; set its NTP server otherwise.",
    },
    ChargerAlert {
        name: "UnknownCharger",
        severity: Info,
        condition: "a charger that is not known was refused more than `unknown_charger_refusals` (3) times, the last time within an hour",
        for_s: 0,
        keep_firing_s: 10 * MINUTE,
        clears: "it was added or dismissed, or has not come back for an hour",
        is_of_charger: false,
        at_stake: "A charger that was installed is offline.",
        to_do: "Look at the waiting room (`GET /api/v1/handshakes`), and add the charger if it is yours.",
    },
    ChargerAlert {
        name: "WrongPassword",
        severity: Ticket,
        condition: "a charger was refused for its password more than `wrong_password_refusals` (5) times within 10 minutes",
        for_s: 0,
        keep_firing_s: 15 * MINUTE,
        clears: "not so for 15 minutes",
        is_of_charger: false,
        at_stake: "The charger is offline; or somebody tries passwords.",
        to_do: "Set its password anew. `GET /api/v1/handshakes` has the address.",
    },
    ChargerAlert {
        name: "ChargersNotJudged",
        severity: Ticket,
        condition: "the database answers, and is behind a gateway by more than `lag_s_max` (30) seconds, or how far it is behind is not known",
        for_s: 10 * MINUTE,
        keep_firing_s: 5 * MINUTE,
        clears: "alerts of chargers have been judged for 5 minutes. Where the cause is a message that is missing for good, they are judged again after 15 minutes",
        is_of_charger: false,
        at_stake: "No alert of a charger begins or ends meanwhile.",
        to_do: "The summary has the cause. The page Pipeline of the dashboard shows where messages wait, and `MessagesMissing` whether some are missing.",
    },
    ChargerAlert {
        name: "CommandUncertain",
        severity: Ticket,
        condition: "whether a charger has received a command is not known, and sending it again could do harm",
        for_s: 0,
        keep_firing_s: 0,
        clears: "its outcome became known, somebody acknowledged the alert, or a day has passed",
        is_of_charger: false,
        at_stake: "The command may have been carried out or not.",
        to_do: "Read the state of the charger, then decide whether to send it again.",
    },
    ChargerAlert {
        name: "WebhookFailing",
        severity: Ticket,
        condition: "a webhook has delivered nothing for `webhook_failing_s` (an hour) although it tries, or was switched off for its failures",
        for_s: 0,
        keep_firing_s: 5 * MINUTE,
        clears: "a delivery succeeded, or a person has changed the webhook",
        is_of_charger: false,
        at_stake: "The receiver gets no events. They are kept for 30 days by default.",
        to_do: "`wattpost webhook deliveries` shows the answers of the receiver.",
    },
    ChargerAlert {
        name: "NotifierFailing",
        severity: Page,
        condition: "a mail of an alert has not been accepted by the server",
        for_s: 5 * MINUTE,
        keep_firing_s: MINUTE,
        clears: "a mail was accepted",
        is_of_charger: false,
        at_stake: "Nobody is told of alerts by mail.",
        to_do: "The summary has the error of the server; `wattpost alerts test-mail` tries it.",
    },
    ChargerAlert {
        name: "NotifierFailing",
        severity: Ticket,
        condition: "the server has accepted a mail of an alert, and has refused one of its recipients",
        for_s: 0,
        keep_firing_s: 0,
        clears: "a mail was accepted for all recipients",
        is_of_charger: false,
        at_stake: "This recipient is told of no alert.",
        to_do: "Correct `alerts.mail.to`, or the mailbox. The summary has the answer of the server.",
    },
];
