//! Other gateways: across all of them, too, a charger's newest connection is the one that counts.
//!
//! Each accepted connection is announced with its epoch. A gateway that hears of a newer one closes its own;
//! one that hears of an older one announces its own again, so that two that came at the same moment, each
//! before the other's news, still leave one. Which is newer is decided by (epoch, gateway id) everywhere alike.
//!
//! Clocks of gateways may differ. An epoch is never below those heard of, so a charger that moves on is newer
//! also at a gateway whose clock is behind. *The limit:* where the news was lost (RabbitMQ was away) and the clock
//! is behind by more than the time between the two connections, the older one wins once; the charger that
//! is closed comes back, above the epoch that was heard by then. And a clock that is ahead by more than a day is not
//! followed: a charger that leaves that gateway is closed elsewhere until its old connection there has ended.

use crate::connection::registry::{Control, Stop};
use crate::shared::{Shared, wall_clock};
use central::ports::{Announcements, News};
use std::sync::Arc;

/// Epochs further ahead of our clock are taken for a mistake, in milliseconds.
const AHEAD_MAX: u64 = 24 * 3_600 * 1_000;

/// Listens, for as long as the gateway lives.
pub(crate) fn listen(shared: &Arc<Shared>) {
    let Some(announcements) = &shared.announcements else {
        return;
    };
    // Whoever carries the news may outlive us.
    let shared = Arc::downgrade(shared);
    announcements.listen(Box::new(move |news| {
        if let Some(shared) = shared.upgrade() {
            hear(&shared, news);
        }
    }));
}

/// Tells the others that this charger is here.
pub(crate) fn announce(shared: &Shared, charger_id: &str, control: &Control) {
    if let Some(announcements) = &shared.announcements {
        tell(shared, &**announcements, charger_id, control.epoch);
    }
}

fn tell(shared: &Shared, announcements: &dyn Announcements, charger_id: &str, epoch: u64) {
    announcements.announce(News::Connected {
        charger_id: charger_id.to_owned(),
        gateway: shared.gateway_id,
        epoch,
    });
}

fn hear(shared: &Shared, news: News) {
    match news {
        News::DirectoryChanged => shared.directory.refresh_now(),
        News::Connected { gateway, .. } if gateway == shared.gateway_id => {}
        News::Connected {
            charger_id,
            gateway,
            epoch,
        } => {
            let now = wall_clock().as_millis().unsigned_abs();
            if epoch <= now.saturating_add(AHEAD_MAX) {
                shared.registry.epochs_are_above(epoch);
            } else {
                tracing::warn!(%gateway, epoch, "the clock of another gateway is ahead by more than a day");
            }
            let Some(control) = shared.registry.find(&charger_id.to_lowercase()) else {
                return;
            };
            if (epoch, gateway) > (control.epoch, shared.gateway_id) {
                control.stop(Stop::ReplacedElsewhere);
            } else {
                announce(shared, &charger_id, &control);
            }
        }
    }
}
