-- How the gateway ends a connection of this charger: 'frame' or 'tcp'; NULL for the policy's rules.
ALTER TABLE charger_profiles ADD COLUMN close_style text CHECK (close_style IN ('frame', 'tcp'));
