//! A car at a connector: what makes a charging curve believable.

use fastrand::Rng;

/// A battery that is being charged.
#[derive(Debug, Clone)]
pub(super) struct Car {
    capacity_wh: f64,
    /// State of charge, 0 to 1.
    soc: f64,
    limit_w: f64,
    /// Energy that the meter has not shown yet: less than a watt-hour.
    rest_wh: f64,
}

/// What the meter shows at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Reading {
    /// Energy ever delivered at this connector.
    pub register_wh: u64,
    /// Power now.
    pub power_w: f64,
    /// Voltage of one phase.
    pub voltage_v: f64,
    /// Current of one phase, three phases.
    pub current_a: f64,
    /// State of charge, 0 to 100.
    pub soc_percent: u32,
}

impl Car {
    /// Some car.
    pub(super) fn roll(dice: &mut Rng) -> Self {
        let sizes_wh = [38_000.0, 52_000.0, 58_000.0, 77_000.0, 82_000.0];
        let limits_w = [7_400.0, 11_000.0, 11_000.0, 22_000.0, 50_000.0];
        Self {
            capacity_wh: sizes_wh[dice.usize(..sizes_wh.len())],
            soc: 0.1 + 0.5 * dice.f64(),
            limit_w: limits_w[dice.usize(..limits_w.len())],
            rest_wh: 0.0,
        }
    }

    /// Charges for `seconds` and returns what the meter adds: at least 1 Wh, so that no two meter
    /// values of a transaction are alike.
    pub(super) fn charge(&mut self, seconds: f64) -> u64 {
        let wh = self.power_w() * seconds / 3600.0;
        self.soc = (self.soc + wh / self.capacity_wh).min(1.0);
        let shown = (wh + self.rest_wh).floor().max(1.0);
        self.rest_wh = (wh + self.rest_wh - shown).max(0.0);
        shown as u64
    }

    /// Whether the battery is full.
    pub(super) fn is_full(&self) -> bool {
        self.soc >= 0.999
    }

    /// What the meter shows.
    pub(super) fn read(&self, register_wh: u64, dice: &mut Rng) -> Reading {
        let wobble = |dice: &mut Rng, part: f64| 1.0 + part * (dice.f64() - 0.5);
        let power_w = self.power_w() * wobble(dice, 0.02);
        let voltage_v = 230.0 * wobble(dice, 0.02);
        Reading {
            register_wh,
            power_w,
            voltage_v,
            current_a: power_w / (3.0 * voltage_v),
            soc_percent: (self.soc * 100.0).round() as u32,
        }
    }

    /// Full power up to 80 %, then falling to a twentieth at the end.
    fn power_w(&self) -> f64 {
        let taper = ((self.soc - 0.8) / 0.2).clamp(0.0, 1.0);
        self.limit_w * (1.0 - 0.95 * taper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_car_fills_up_ever_slower_and_the_meter_never_stands_still() {
        let mut dice = Rng::with_seed(3);
        let mut car = Car::roll(&mut dice);
        let (mut register, mut minutes) = (0, 0);
        let first = car.read(register, &mut dice);
        while !car.is_full() {
            let added = car.charge(60.0);
            assert!(added >= 1);
            register += added;
            minutes += 1;
            assert!(minutes < 24 * 60, "never full");
        }
        let last = car.read(register, &mut dice);
        assert!(last.power_w < first.power_w / 4.0);
        assert_eq!(last.soc_percent, 100);
        let energy = register as f64;
        assert!(
            energy <= car.capacity_wh * 0.95 + minutes as f64,
            "{energy}"
        );
        assert_eq!(car.charge(0.0), 1);
    }
}
