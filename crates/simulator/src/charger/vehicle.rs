//! A vehicle at a connector, which gives a realistic charging curve.

use fastrand::Rng;

/// A vehicle whose battery is charged.
#[derive(Debug, Clone)]
pub(super) struct Vehicle {
    capacity_wh: f64,
    /// State of charge, 0 to 1.
    soc: f64,
    limit_w: f64,
    /// The power in watts that charging profiles allow.
    allowed_w: f64,
    /// Energy that the meter has not counted yet, less than 1 Wh.
    remainder_wh: f64,
}

/// The values of the meter at one time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct MeterReading {
    /// Total energy of this connector.
    pub register_wh: u64,
    /// Power.
    pub power_w: f64,
    /// Voltage of one phase.
    pub voltage_v: f64,
    /// Current of one phase, three phases.
    pub current_a: f64,
    /// State of charge, 0 to 100.
    pub soc_percent: u32,
}

impl Vehicle {
    /// A random vehicle.
    pub(super) fn random(rng: &mut Rng) -> Self {
        let sizes_wh = [38_000.0, 52_000.0, 58_000.0, 77_000.0, 82_000.0];
        let limits_w = [7_400.0, 11_000.0, 11_000.0, 22_000.0, 50_000.0];
        Self {
            capacity_wh: sizes_wh[rng.usize(..sizes_wh.len())],
            soc: 0.1 + 0.5 * rng.f64(),
            limit_w: limits_w[rng.usize(..limits_w.len())],
            allowed_w: f64::INFINITY,
            remainder_wh: 0.0,
        }
    }

    /// Sets the power that charging profiles allow.
    pub(super) fn allow(&mut self, power_w: f64) {
        self.allowed_w = power_w;
    }

    /// Charges for `seconds` and returns the increase of the meter: at least 1 Wh, so that all meter values of a
    /// transaction differ.
    pub(super) fn charge(&mut self, seconds: f64) -> u64 {
        let wh = self.power_w() * seconds / 3600.0;
        self.soc = (self.soc + wh / self.capacity_wh).min(1.0);
        let counted = (wh + self.remainder_wh).floor().max(1.0);
        self.remainder_wh = (wh + self.remainder_wh - counted).max(0.0);
        counted as u64
    }

    /// Whether the battery is full.
    pub(super) fn is_full(&self) -> bool {
        self.soc >= 0.999
    }

    /// The meter values with this total energy.
    pub(super) fn read(&self, register_wh: u64, rng: &mut Rng) -> MeterReading {
        let wobble = |rng: &mut Rng, part: f64| 1.0 + part * (rng.f64() - 0.5);
        let power_w = self.power_w() * wobble(rng, 0.02);
        let voltage_v = 230.0 * wobble(rng, 0.02);
        MeterReading {
            register_wh,
            power_w,
            voltage_v,
            current_a: power_w / (3.0 * voltage_v),
            soc_percent: (self.soc * 100.0).round() as u32,
        }
    }

    /// Full power up to 80 %, then decreasing to 5 % at the end; not more than is allowed.
    fn power_w(&self) -> f64 {
        let taper = ((self.soc - 0.8) / 0.2).clamp(0.0, 1.0);
        let wanted_w = self.limit_w * (1.0 - 0.95 * taper);
        wanted_w.min(self.allowed_w).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_car_fills_up_ever_slower_and_the_meter_never_stands_still() {
        let mut rng = Rng::with_seed(3);
        let mut vehicle = Vehicle::random(&mut rng);
        let (mut register, mut minutes) = (0, 0);
        let first = vehicle.read(register, &mut rng);
        while !vehicle.is_full() {
            let added = vehicle.charge(60.0);
            assert!(added >= 1);
            register += added;
            minutes += 1;
            assert!(minutes < 24 * 60, "never full");
        }
        let last = vehicle.read(register, &mut rng);
        assert!(last.power_w < first.power_w / 4.0);
        assert_eq!(last.soc_percent, 100);
        let energy = register as f64;
        assert!(
            energy <= vehicle.capacity_wh * 0.95 + minutes as f64,
            "{energy}"
        );
        assert_eq!(vehicle.charge(0.0), 1);
    }
}
