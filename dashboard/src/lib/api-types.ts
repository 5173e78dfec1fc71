// Generated from the OpenAPI document by `npm run types`. A test compares it with a running Wattpost.

export type paths = Record<string, never>;
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /**
         * @description How a client of the API is known.
         * @enum {string}
         */
        Access: "without_key" | "signed_in" | "signed_out";
        /** @description An action of OCPP. */
        Action: {
            /** @example Reset */
            action: string;
            /**
             * @description What a charger does with it when it is not delivered: `T` (part of a transaction) and `Q` are queued, `N` is not,
             *     `S` has no answer.
             */
            delivery_class: string;
            ocpp_version: components["schemas"]["OcppVersion"];
            /**
             * @description Of 1.6 the feature profile, of 2.x the functional block.
             * @example Core
             */
            profile: string;
            /**
             * @description Whether a command may be sent again without harm: `always`, `never`, or `by_payload` if that depends on the
             *     payload. Null if only chargers send it.
             */
            safe_to_repeat?: string | null;
            /** @description Who may send it: `charger`, `central_system` or `both`. */
            sent_by: string;
        };
        /** @description Who made a change. */
        Actor: {
            /** @description `api_key`, `user`, `without_key`, `command_line`, or `wattpost` for what Wattpost does by itself. */
            kind: string;
            /** @description The name of the key or of the user. */
            name?: string | null;
        };
        /** @description A key that was added. */
        AddedApiKey: components["schemas"]["ApiKey"] & {
            /** @description The key itself, for `Authorization: Bearer`. It is shown only in this answer; null in the answer to a repeat. */
            secret?: string | null;
        };
        /**
         * @description The answer to a BootNotification: accepted; pending (the charger may be configured and does not charge); rejected.
         * @enum {string}
         */
        Admission: "accepted" | "pending" | "rejected";
        /** @description One occurrence of an alert. */
        Alert: {
            acknowledged?: components["schemas"]["AlertAcknowledged"] | null;
            /**
             * Format: date-time
             * @description Since when the condition has held.
             */
            active_at: string;
            /** @description What is lost or at risk. */
            at_stake: string;
            /** @description The charger, where it is about one. */
            charger_id?: string | null;
            /**
             * Format: date-time
             * @description When it began to fire.
             */
            fired_at?: string | null;
            /** @description The gateway of the charger, or empty. */
            group: string;
            /** Format: uuid */
            id: string;
            /** @description The name of the alert that explains this one, so that nobody is told. */
            inhibited_by?: string | null;
            /** @description The addresses of the alert, of the charger and of the site. */
            links: unknown;
            /**
             * Format: date-time
             * @description When the mail of its firing was accepted by the server.
             */
            mailed_at?: string | null;
            /** @description The name of its rule. */
            name: string;
            /**
             * Format: int32
             * @description How often the condition has begun to hold, with the occurrences before that followed each other within an hour.
             */
            occurrences: number;
            /**
             * Format: date-time
             * @description When it ended.
             */
            resolved_at?: string | null;
            /** @description `page`, `ticket` or `info`. */
            severity: string;
            /**
             * Format: uuid
             * @description The silence because of which nobody is told.
             */
            silenced_by?: string | null;
            /** @description The id of the site of the charger, or of the site that it is about. */
            site?: string | null;
            /** @description `pending`, `firing` or `resolved`. */
            state: string;
            /** @description A process, a charger, a connector, a transaction, a command or a webhook; empty for all together. */
            subject: string;
            /** @description What has happened. */
            summary: string;
            /** @description What to do. */
            to_do: string;
        };
        /** @description That a person has taken note of an alert. */
        AlertAcknowledged: {
            /** Format: date-time */
            at: string;
            /** @description The name of the key or the user; null for a request without one. */
            by?: string | null;
            note: string;
        };
        /** @description A note. */
        AlertAcknowledgement: {
            /** @description At most 500 characters. */
            note?: string | null;
        };
        /** @description An alert of the catalogue. */
        AlertRule: {
            /** @description `pipeline` or `chargers`. */
            about: string;
            /** @description What is lost or at risk. */
            at_stake: string;
            /** @description When it ends, in words. */
            clears: string;
            /** @description The condition in words; empty if only Prometheus evaluates it. */
            condition: string;
            /** @description Whether Wattpost evaluates it. */
            evaluated: boolean;
            /** @description The condition as a query of Prometheus; null for an alert that names chargers. */
            expr?: string | null;
            /**
             * Format: int32
             * @description For how many seconds the condition holds before the alert fires, as it is set.
             */
            for_s: number;
            /**
             * Format: int32
             * @description For how many seconds the condition must not hold before the alert ends, as it is set.
             */
            keep_firing_s: number;
            /** @description An alert of two severities has two rules. */
            name: string;
            /** @description `page`, `ticket` or `info`. */
            severity: string;
            /** @description What to do. */
            to_do: string;
        };
        /** @description The catalogue. */
        AlertRules: {
            /**
             * Format: date-time
             * @description For when the answer is. Absent where the header `Wattpost-As-Of` says so alone.
             */
            as_of?: string;
            items: components["schemas"]["AlertRule"][];
            /**
             * Format: int64
             * @description By how many milliseconds at most the database was behind what chargers were answered for; null if that is not known.
             */
            lag_ms?: number | null;
            /** @description Always null. */
            next?: string | null;
            /** @description The settings `alerts.rules` of the process that answers. */
            settings: unknown;
            /** @description Whether the database is unavailable and this is an earlier answer. */
            stale?: boolean;
            /** @description Why it is stale; null if it is not. */
            stale_because?: string | null;
        };
        /** @description A key of this API, without its secret. */
        ApiKey: {
            /** Format: date-time */
            created_at: string;
            /**
             * Format: date-time
             * @description From this time on it is refused; null: never.
             */
            expires_at?: string | null;
            /** Format: uuid */
            id: string;
            /**
             * Format: date-time
             * @description Its latest use, about a minute late.
             */
            last_used_at?: string | null;
            /** @description The operator's name for it, unique among the keys that exist. */
            name: string;
            scope: components["schemas"]["Scope"];
        };
        /** @description A change. It contains no password and no key. */
        AuditEntry: {
            /** @description What was done, such as `charger.set`; docs/api.md has all. */
            action: string;
            /** @description The subject after the change; null if it no longer exists. */
            after: unknown;
            /** Format: date-time */
            at: string;
            /** @description The subject before the change; null if it did not exist. */
            before: unknown;
            by: components["schemas"]["Actor"];
            /** @description A client's address, or the name of the machine on which a command ran. */
            from: string;
            /**
             * Format: int64
             * @description A later entry has a larger number.
             */
            no: number;
            /** @description Null for the command line. */
            request_id?: string | null;
            /** @description The identity of the charger, the id of the token, or the name of the key or the user. */
            subject: string;
            /** @description The `traceparent` of the request (W3C Trace Context); null if it had none. */
            traceparent?: string | null;
        };
        /** @description `acknowledged = stored + dead_letters + journal + rabbitmq + difference`, in records of the gateways in `watermarks`. */
        Balance: {
            /**
             * Format: int64
             * @description Durable: chargers have their answers.
             */
            acknowledged?: number | null;
            /**
             * Format: int64
             * @description Kept as dead letters.
             */
            dead_letters?: number | null;
            /**
             * Format: int64
             * @description Confirmed a minute ago or earlier, not stored, and not in RabbitMQ's queues: nothing explains where they are.
             */
            difference?: number | null;
            /**
             * Format: int64
             * @description In a journal and not delivered.
             */
            journal?: number | null;
            /**
             * Format: int64
             * @description Confirmed by RabbitMQ and not stored yet.
             */
            rabbitmq?: number | null;
            /**
             * Format: int64
             * @description Of these, stored in the database.
             */
            stored?: number | null;
            /**
             * Format: date-time
             * @description Since when `difference` is not 0; null while it is.
             */
            unexplained_since?: string | null;
            /** @description Why members are null, by their names. */
            unknown: {
                [key: string]: string;
            };
        };
        /** @description A batch. */
        Batch: {
            /** @description With `payload`; or else it has `operation` and `parameters`. */
            action?: string | null;
            /** Format: int32 */
            answer_within_ms: number;
            /** Format: int32 */
            at_once: number;
            /** @description Who created it. */
            by: string;
            counts: components["schemas"]["BatchCounts"];
            /** Format: date-time */
            created_at: string;
            /** @description Why it has this state; empty if there is nothing to say. */
            detail: string;
            /**
             * Format: date-time
             * @description No command is started at or after this time.
             */
            expires_at: string;
            /** Format: uuid */
            id: string;
            operation?: string | null;
            parameters?: Record<string, never> | null;
            payload?: Record<string, never> | null;
            /** Format: int32 */
            per_second: number;
            /** @description `running`, `paused`, `halted` (by its stop rule), `cancelled` or `done`. */
            state: string;
            /** Format: int32 */
            stop_after_failures?: number | null;
            /** Format: int32 */
            stop_at_failed_percent?: number | null;
            /**
             * Format: int64
             * @description The number of its chargers.
             */
            total: number;
            /** @description The `traceparent` of the request that created it, which its commands have (W3C Trace Context). */
            traceparent?: string | null;
            /** @description `fail` or `wait`. */
            when_offline: string;
        };
        /** @description How many chargers of a batch are in each state. */
        BatchCounts: {
            /** Format: int64 */
            failed: number;
            /** Format: int64 */
            not_started: number;
            /** Format: int64 */
            pending: number;
            /** Format: int64 */
            started: number;
            /** Format: int64 */
            succeeded: number;
        };
        /** @description Selects the chargers of a batch; `{}` selects all. */
        BatchFilter: {
            firmware?: string | null;
            /** @description A group of chargers, exactly. */
            group?: string | null;
            model?: string | null;
            ocpp_version?: components["schemas"]["OcppVersion"] | null;
            online?: boolean | null;
            /** @description A part of the identity, in any letter case. */
            q?: string | null;
            /** @description The `id` of a site. */
            site?: string | null;
            /** @description As the latest BootNotification says, as the next two. */
            vendor?: string | null;
        };
        /** @description A charger of a batch. */
        BatchItem: {
            charger_id: string;
            command?: components["schemas"]["Command"] | null;
            /** @description Why it has this state; empty if there is nothing to say. */
            detail: string;
            /** @description `pending`, `started`, `succeeded`, `failed` or `not_started`. */
            state: string;
        };
        /** @description What a charger reported about itself in its BootNotification. A member that it did not send is absent. */
        Boot: {
            /** @description The status in the answer: `Accepted`, `Pending` or `Rejected`. */
            answered?: string;
            firmware?: string;
            iccid?: string;
            imsi?: string;
            meter_serial?: string;
            meter_type?: string;
            model?: string;
            /** @description Why it booted (2.x). */
            reason?: string;
            serial?: string;
            vendor?: string;
        };
        /** @description A charger. */
        Charger: {
            boot?: components["schemas"]["Boot"] | null;
            /**
             * Format: date-time
             * @description When its latest BootNotification was received.
             */
            booted_at?: string | null;
            /**
             * @description Its identity in its latest spelling.
             * @example CP-17
             */
            charger_id: string;
            /**
             * Format: date-time
             * @description When the newest connection began.
             */
            connected_at?: string | null;
            /**
             * @description What is known of its newest connection: its end is not recorded and its gateway runs (`open`), it has ended or
             *     there was none (`closed`), or its gateway does not report (`unknown`).
             */
            connection: components["schemas"]["ConnectionState"];
            /** @description Its connectors. */
            connectors: components["schemas"]["Connector"][];
            /** @description Why it ended. */
            disconnect_reason?: string | null;
            /**
             * Format: date-time
             * @description When that connection ended, if the end is known.
             */
            disconnected_at?: string | null;
            /** @description Its firmware status. */
            firmware_status?: string | null;
            /**
             * Format: date-time
             * @description When its first record was received.
             */
            first_seen_at?: string | null;
            /**
             * Format: uuid
             * @description The gateway that holds or held its newest connection.
             */
            gateway_id?: string | null;
            /**
             * Format: date-time
             * @description When its latest record was received.
             */
            last_seen_at?: string | null;
            /** @description Addresses of what belongs to it. */
            links: components["schemas"]["Links"];
            ocpp_version?: components["schemas"]["OcppVersion"] | null;
            /** @description Whether it is known to be connected. */
            online: boolean;
            /** @description Its address in that connection. */
            remote?: string | null;
            /**
             * Format: date-time
             * @description When an operator removed it; null if it is added, or was never removed.
             */
            removed_at?: string | null;
            removed_by?: components["schemas"]["Actor"] | null;
            settings?: components["schemas"]["ChargerSettings"] | null;
        };
        /** @description A connection of a charger. */
        ChargerConnection: {
            /**
             * Format: date-time
             * @description When it began.
             */
            connected_at: string;
            /**
             * Format: date-time
             * @description When it ended; null unless `end` is `closed`.
             */
            disconnected_at?: string | null;
            /**
             * Format: int64
             * @description Milliseconds until it ended, or until now while it is open; null if its end is not known.
             */
            duration_ms?: number | null;
            end: components["schemas"]["ConnectionEnd"];
            /**
             * Format: date-time
             * @description If `end` is `not_recorded`: it had ended when its gateway started again, or the charger connected again.
             */
            ended_before?: string | null;
            /**
             * Format: int64
             * @description Its number: of two connections of a charger the one with the greater number is the newer.
             */
            epoch: number;
            /**
             * Format: uuid
             * @description The gateway that held it.
             */
            gateway_id: string;
            /**
             * Format: date-time
             * @description When its last record was received, unless `end` is `closed`: it had not ended before.
             */
            last_record_at?: string | null;
            ocpp_version: components["schemas"]["OcppVersion"];
            /** @description Why it ended; null unless `end` is `closed`. */
            reason?: string | null;
            /** @description The address of its peer; null if its begin is not in the database. */
            remote?: string | null;
        };
        /** @description A change of a charger's settings: a member that is absent stays as it is, and null sets the default. */
        ChargerPatch: {
            admission?: components["schemas"]["Admission"] | null;
            check?: components["schemas"]["CheckMode"] | null;
            close_style?: components["schemas"]["CloseStyle"] | null;
            /**
             * Format: int32
             * @description Bytes of one of its messages at most.
             */
            frame_bytes_max?: number | null;
            /** @description The group of chargers to which it belongs. */
            group?: string | null;
            /** @description The text that people see beside the identity. */
            label?: string | null;
            /**
             * @description Its password for Basic authentication, 8 to 64 bytes, which the charger has already; null removes it. To change it at
             *     the charger too, use `PUT /api/v1/chargers/{id}/password`.
             */
            password?: string | null;
            /** @description The `id` of the site where it stands, which must exist. */
            site?: string | null;
        };
        /** @description What the operator has set of a charger. */
        ChargerSettings: {
            admission: components["schemas"]["Admission"];
            /** @description The identity in the operator's spelling. */
            charger_id: string;
            check?: components["schemas"]["CheckMode"] | null;
            close_style?: components["schemas"]["CloseStyle"] | null;
            /**
             * Format: int32
             * @description Bytes of one of its messages at most, from its next connection on; null: `gateway.frame_bytes_max`.
             */
            frame_bytes_max?: number | null;
            /** @description The group of chargers to which it belongs. */
            group?: string | null;
            /** @description Whether it must send a password when it connects. The password is never shown. */
            has_password: boolean;
            /** @description The text that people see beside the identity. */
            label?: string | null;
            /** @description The `id` of the site where it stands. */
            site?: string | null;
            /**
             * Format: int64
             * @description Increases with each change of these settings.
             */
            version: number;
        };
        /** @description A charger with the tolerances that it needed and its open transactions, at most 100 of them. */
        ChargerWithDetails: components["schemas"]["Charger"] & {
            open_transactions: components["schemas"]["Transaction"][];
            /** @description The tolerances that it needed. */
            quirks: components["schemas"]["Quirk"][];
        };
        /** @description What is doubtful, and what an operator can do about it. */
        Check: {
            code: string;
            cure: string;
        };
        /**
         * @description How strictly messages are checked against OCPP.
         * @enum {string}
         */
        CheckMode: "strict" | "warn" | "off";
        /**
         * @description How the gateway ends a connection whose charger is to come back: with a Close frame, or with the end of TCP alone, for
         *     firmware that stays away after a Close frame.
         * @enum {string}
         */
        CloseStyle: "frame" | "tcp";
        /** @description Why a transaction is closed. */
        CloseTransaction: {
            /**
             * Format: date-time
             * @description When it ended: not before its start, and not in the future. Default null: at its last message.
             */
            at?: string | null;
            /** @description Whether it is closed although the charger sent a message about it within the last 15 minutes. Default false. */
            force?: boolean | null;
            /**
             * @description Why: 1 to 1,000 characters without line ends and control characters.
             * @example charger replaced
             */
            reason: string;
        };
        /** @description Why a session without a stop counts as ended. */
        Closed: {
            /**
             * Format: date-time
             * @description The time at which it ended at the latest.
             */
            at: string;
            /** @description `superseded` (a later session started on its connector) or `person`. */
            by: string;
            /**
             * Format: date-time
             * @description When that person closed it.
             */
            noted_at?: string | null;
            /** @description Why that person closed it. */
            reason?: string | null;
            /** @description Whether the stop arrived later. */
            reconciled: boolean;
            /**
             * Format: uuid
             * @description The key of the later session, if that closed it.
             */
            transaction?: string | null;
            /** @description The person who closed it, or the account that ran the command. */
            who?: string | null;
        };
        /** @description A command. */
        Command: {
            action: string;
            /** Format: int32 */
            answer_within_ms: number;
            /** Format: date-time */
            answered_at?: string | null;
            /** @description Who requested it. */
            by: string;
            charger_id: string;
            /** @description `on`, or `off` if the payload is sent without a check against the schema. */
            check: string;
            /** Format: date-time */
            created_at: string;
            /** @description What followed the answer. */
            effect: components["schemas"]["Effect"];
            /**
             * Format: date-time
             * @description It is not sent at or after this time.
             */
            expires_at: string;
            /**
             * Format: uuid
             * @description The gateway that has or had it.
             */
            gateway_id?: string | null;
            /**
             * Format: uuid
             * @description Its id; also the message id of the call.
             */
            id: string;
            /** @description Addresses of what belongs to it. */
            links: components["schemas"]["Links"];
            outcome?: components["schemas"]["Outcome"] | null;
            payload: unknown;
            /** @description The records of the call, the answer, and the end without one. */
            record_ids: string[];
            /**
             * Format: uuid
             * @description The command that this one repeats, because pages of its report were missing.
             */
            repeats?: string | null;
            /** @description Whether sending it again does no harm. */
            safe_to_repeat: boolean;
            /** Format: date-time */
            sent_at?: string | null;
            /** @description `queued`, `waiting_for_charger` (queued, and the charger is not connected), `claimed` (a gateway has it), `sent` or `done`. */
            state: string;
            /** @description The `traceparent` of the request (W3C Trace Context); null if it had none. */
            traceparent?: string | null;
            /**
             * @description What is doubtful about the request, such as an EVSE that the charger has not reported. Only in the answer to the
             *     request, and only if there is something.
             */
            warnings?: string[] | null;
            /** @description `fail` or `wait`. */
            when_offline: string;
        };
        /**
         * @description Whether a token may have several open transactions.
         * @enum {string}
         */
        ConcurrentTransactions: "allow" | "refuse";
        /**
         * @description How far energy can be trusted.
         * @enum {string}
         */
        Confidence: "final" | "running" | "doubtful";
        /**
         * @description What is known of the end of a connection. `open`: it has not ended. `closed`: its end is recorded. `not_recorded`: it has
         *     ended, between `last_record_at` and `ended_before`; its gateway was killed or lost the record. `unknown`: its gateway does
         *     not report, so it may be open or not.
         * @enum {string}
         */
        ConnectionEnd: "open" | "closed" | "not_recorded" | "unknown";
        /**
         * @description What is known of a connection.
         * @enum {string}
         */
        ConnectionState: "open" | "closed" | "unknown";
        /** @description A connector. */
        Connector: {
            charger_id: string;
            /**
             * Format: int64
             * @description The connector; 0 is the whole EVSE or charger.
             */
            connector: number;
            /** @description The error code of `last_status`. */
            error_code?: string | null;
            /**
             * Format: int64
             * @description The EVSE; 0 for OCPP 1.6.
             */
            evse: number;
            /** @description The charger's description of the error. */
            info?: string | null;
            /** @description The status that the charger reported last. */
            last_status?: string | null;
            /**
             * Format: date-time
             * @description Since when it had that status, by its clock.
             */
            last_status_at?: string | null;
            /**
             * Format: date-time
             * @description Since when it has this status.
             */
            since?: string | null;
            /** @description The status, or `Unknown`. */
            status: string;
            unknown_reason?: components["schemas"]["UnknownReason"] | null;
            /** @description The vendor's error code. */
            vendor_error_code?: string | null;
        };
        /** @description A record that could not be applied. */
        DeadLetter: {
            /** @description The action of OCPP; null likewise. */
            action?: string | null;
            /**
             * Format: date-time
             * @description When it became a dead letter.
             */
            at: string;
            /** @description Null if the record has no charger or cannot be decoded. */
            charger_id?: string | null;
            /** @description Its bytes; U+FFFD replaces what is not UTF-8. Null if it was discarded. */
            content?: string | null;
            discarded?: components["schemas"]["Discarded"] | null;
            /** @description Why it cannot be applied. */
            reason: string;
            /** @description `GATEWAY/NUMBER`: also the end of the address of the dead letter. */
            record_id: string;
            /** Format: int64 */
            size_bytes: number;
            state: components["schemas"]["DeadLetterState"];
        };
        /** @description The dead letters that were discarded. */
        DeadLetterDiscard: {
            /** @description Their records. */
            discarded: string[];
            /** @description Whether nothing was changed. */
            dry_run: boolean;
        };
        /** @description Selects dead letters that wait. An empty filter selects all of them. */
        DeadLetterFilter: {
            /** @description Only this action of OCPP; letter case is ignored. */
            action?: string | null;
            /** @description Only those of this charger; letter case is ignored. */
            charger?: string | null;
            /**
             * Format: date-time
             * @description Only those that became dead letters at this time or later.
             */
            from?: string | null;
            /** @description Only those whose reason contains this text, in this letter case. */
            reason?: string | null;
            /**
             * Format: date-time
             * @description Only those that became dead letters before this time.
             */
            to?: string | null;
        };
        /** @description What became of dead letters that were tried again. */
        DeadLetterRetry: {
            /** @description The records that are applied, and are no dead letters any more. */
            applied: string[];
            /** @description Whether nothing was changed. */
            dry_run: boolean;
            /** @description The others. */
            still_dead: components["schemas"]["StillDead"][];
        };
        /**
         * @description Whether a dead letter waits for a person.
         * @enum {string}
         */
        DeadLetterState: "waiting" | "discarded";
        /** @description An action of OCPP with the schemas of its payloads. */
        DescribedAction: {
            action: string;
            delivery_class: string;
            ocpp_version: components["schemas"]["OcppVersion"];
            profile: string;
            /** @description The JSON Schema (draft 2020-12) of the request's payload. */
            request_schema: Record<string, never>;
            /** @description The JSON Schema of the response's payload; null for a message without a response. */
            response_schema?: Record<string, never> | null;
            safe_to_repeat?: string | null;
            /** @description As in the list of actions, as the next three. */
            sent_by: string;
        };
        /** @description A place where a payload or an answer deviates from its schema. */
        Deviation: {
            /** @description What was expected and what was found, for people. */
            detail: string;
            /** @description Where it is: `payload` or `answer`. */
            part: string;
            /** @description The place in it as a JSON pointer (RFC 6901), empty for the whole; of a missing member the path that it would have. */
            pointer: string;
            /** @description `not_json`, `not_object`, `type`, `missing`, `enum`, `length`, `range`, `items`, `format` or `extra`. */
            rule: string;
            /** @description Whether `policy.check = "warn"` tolerates it. */
            tolerated: boolean;
        };
        /** @description Why a dead letter is discarded. */
        DiscardDeadLetter: {
            /**
             * @description Why: 1 to 1,000 characters without line ends and control characters.
             * @example test data
             */
            reason: string;
        };
        /** @description Which dead letters are discarded: at most 1,000. */
        DiscardDeadLetters: {
            /**
             * Format: int64
             * @description How many match, as a dry run or the list has shown; if it is another number, nothing is changed. A dry run may leave
             *     it out.
             * @example 3
             */
            expected?: number | null;
            filter: components["schemas"]["DeadLetterFilter"];
            /**
             * @description Why: 1 to 1,000 characters without line ends and control characters.
             * @example test data
             */
            reason: string;
        };
        /** @description That a person has discarded a dead letter. */
        Discarded: {
            /** Format: date-time */
            at: string;
            /** @description The name of the API key, or the account of the command line. */
            by: string;
            reason: string;
        };
        /** @description A request to close a connection, and what became of it. */
        Disconnect: {
            charger_id: string;
            /** Format: int32 */
            code: number;
            connection?: components["schemas"]["ChargerConnection"] | null;
            /**
             * Format: int64
             * @description The connection: a later one of the charger is not closed.
             */
            epoch: number;
            /**
             * Format: date-time
             * @description From then on the gateway does nothing any more.
             */
            expires_at: string;
            /**
             * Format: uuid
             * @description The gateway that holds or held the connection.
             */
            gateway_id: string;
            /**
             * Format: date-time
             * @description When the gateway heard of it; null if it has not said so.
             */
            heard_at?: string | null;
            /** @description Null if none was given. */
            reason?: string | null;
            /** Format: date-time */
            requested_at: string;
            state: components["schemas"]["DisconnectState"];
        };
        /**
         * @description `pending`: the gateway has not said anything yet. `closing`: the gateway has told the connection to end, and the record of
         *     the end is not in the database yet. `closed`: the connection has ended; its `reason` says how. `ended`: the connection has
         *     ended without a record: its gateway was killed, or does not have it. `expired`: the gateway did not hear of the request in
         *     time, and does nothing.
         * @enum {string}
         */
        DisconnectState: "pending" | "closing" | "closed" | "ended" | "expired";
        /** @description What a batch would do. */
        DryRun: {
            /** @description The first 1,000 of them. */
            chargers: components["schemas"]["DryRunCharger"][];
            /**
             * Format: int64
             * @description How many of them would get no command.
             */
            refused: number;
            /**
             * Format: int64
             * @description The number of selected chargers.
             */
            total: number;
        };
        /** @description What a charger of a batch would get. */
        DryRunCharger: {
            /** @description The action that it would get; null if there is a problem. */
            action?: string | null;
            charger_id: string;
            ocpp_version?: components["schemas"]["OcppVersion"] | null;
            online: boolean;
            /** @description Why it would get no command. */
            problem?: string | null;
        };
        /** @description What followed the charger's answer to a command. */
        Effect: {
            /** @description The keys of transactions of which one may be the effect, if it is not certain which. */
            candidates: string[];
            detail?: string | null;
            /**
             * Format: date-time
             * @description By when it is expected.
             */
            expected_by?: string | null;
            /** @description The address of the file, without user, password and query. */
            file?: string | null;
            report?: components["schemas"]["Report"] | null;
            /**
             * Format: date-time
             * @description When the message that shows it was received.
             */
            seen_at?: string | null;
            /** @description `none` (nothing follows), `expected`, `seen` or `not_seen` in time. `not_seen` becomes `seen` if it comes late. */
            state: string;
            /**
             * @description What the charger reported last: a state of firmware or of an upload, a status, the reason of a boot, the action
             *     that was triggered.
             */
            status?: string | null;
            /** @description The states of a transfer or a reservation, in the order of reception. */
            statuses: components["schemas"]["EffectStatus"][];
            /**
             * Format: uuid
             * @description The key of the transaction that it started or ended, if that is certain.
             */
            transaction?: string | null;
        };
        /** @description One state that a charger reported. */
        EffectStatus: {
            /** Format: date-time */
            at: string;
            status: string;
        };
        /** @description A route. */
        Endpoint: {
            path: string;
            what: string;
        };
        /** @description An event. */
        Event: {
            /** @description Null for an event that concerns no charger. */
            charger_id?: string | null;
            /** @description The object after the change, as the API shows it. */
            data: unknown;
            /** @description `POSITION-MILLISECONDS`: its position in the log, and when it was recorded. */
            id: string;
            /** @description Whether it was recorded more than 60 seconds after it occurred. */
            late: boolean;
            /** @description The addresses of what the event is about: the charger, the transaction, the command, the dead letter, the alert, the pipeline. */
            links: unknown;
            /**
             * Format: date-time
             * @description When it occurred: the charger's time where the charger reported one.
             */
            occurred_at: string;
            /**
             * Format: date-time
             * @description When it got its place in the log.
             */
            recorded_at: string;
            /** @description Such as `transaction.started`; docs/events.md lists the types. */
            type: string;
        };
        /** @description A page of the log of events. */
        EventPage: {
            items: components["schemas"]["Event"][];
            /** @description All events up to this id were considered: the `after` of the next request, now or later. */
            last_id: string;
            /** @description The `after` of the next page; null at the end of the log. */
            next?: string | null;
        };
        /** @description A fault of a request. */
        Fault: {
            code: string;
            detail: string;
            /** @description `?NAME` for a query parameter, else a JSON pointer into the body. */
            pointer: string;
        };
        /** @description The answer of `/health`. */
        Health: {
            parts: components["schemas"]["HealthPart"][];
            process?: components["schemas"]["HealthProcess"] | null;
            /** @description Whether the process can do new work, as in `/health/ready`. */
            ready: boolean;
            /** @description `works`; `degraded`: a part does not work, and the process does new work without it; `not_ready`. */
            status: components["schemas"]["HealthStatus"];
        };
        /** @description A fault of a part. */
        HealthError: {
            /**
             * Format: date-time
             * @description When it was seen last.
             */
            at: string;
            detail: string;
        };
        /** @description A part of the process, with figures. */
        HealthPart: {
            /** @description What is wrong, or a short description. */
            detail: string;
            /** @description Figures by name; null is not known. A name ends in its unit. Absent if there are none. */
            figures?: {
                [key: string]: number | null;
            } | null;
            last_error?: components["schemas"]["HealthError"] | null;
            part: string;
            /** @description Whether the process can do new work, as far as this part is concerned. */
            ready: boolean;
            /**
             * Format: date-time
             * @description Since when `up` has this value; null if it is not known.
             */
            since?: string | null;
            up: boolean;
        };
        /** @description Which process answers. */
        HealthProcess: {
            /** @description The name of its machine. */
            host: string;
            /**
             * Format: uuid
             * @description The gateway's id, or a random one for a process without a gateway.
             */
            id: string;
            role: components["schemas"]["PipelineRole"];
            /**
             * Format: date-time
             * @description When it started, by its clock.
             */
            started_at: string;
            version: string;
        };
        /**
         * @description The state of a process.
         * @enum {string}
         */
        HealthStatus: "works" | "degraded" | "not_ready";
        /** @description The verdicts of an import. */
        Import: {
            /** Format: int64 */
            created: number;
            /** @description Whether nothing was changed, because the request asked for the verdicts only. */
            dry_run: boolean;
            /** @description In the order of the lines. */
            lines: components["schemas"]["ImportVerdict"][];
            /** Format: int64 */
            refused: number;
            /** Format: int64 */
            unchanged: number;
            /** Format: int64 */
            updated: number;
        };
        /**
         * @description What becomes of a line of an import.
         * @enum {string}
         */
        ImportOutcome: "created" | "updated" | "unchanged" | "refused";
        /** @description The verdict on a line of an import. */
        ImportVerdict: {
            /** @description The members that change. */
            changes: string[];
            /** @description The column that is refused. */
            column?: string | null;
            /** @description What to do instead. */
            cure?: string | null;
            /** @description The id of the token or charger. */
            id?: string | null;
            /**
             * Format: int64
             * @description The number of the line in the file, from 1.
             */
            line: number;
            outcome: components["schemas"]["ImportOutcome"];
            /** @description The refused value, at most 300 characters of it. */
            value?: string | null;
        };
        /** @description The answer of `/`. */
        Index: {
            endpoints: components["schemas"]["Endpoint"][];
            name: string;
            version: string;
        };
        /** @description Addresses in this API of what belongs to an object. One that does not apply is absent. */
        Links: {
            /** @description Of a transaction or a command: its charger. */
            charger?: string | null;
            /** @description Of a charger: the commands to it. */
            commands?: string | null;
            /** @description Of a charger or a transaction: its messages. */
            messages?: string | null;
            /** @description Of a transaction: what was measured. */
            meter_values?: string | null;
            /** @description Of a command that asks for a report: its pages. */
            report?: string | null;
            /**
             * @description The object itself.
             * @example /api/v1/chargers/CP%2D17
             */
            self: string;
            /** @description Of a command: the transaction that it started or ended. */
            transaction?: string | null;
            /** @description Of a charger: its transactions. */
            transactions?: string | null;
        };
        /** @description A message in the list. The last members are there only with `pairs=true`. */
        ListedMessage: {
            action: string;
            /** @description The payload of a CALLRESULT, or `[code, description, details]` of a CALLERROR. */
            answer: unknown;
            /** @description Empty for a record of the gateway itself. */
            charger_id: string;
            /**
             * Format: uuid
             * @description The `id` of the command whose call it is, or belongs to.
             */
            command_id?: string | null;
            /** @description `from_charger` or `to_charger`: who sent `payload`. */
            direction: string;
            /**
             * Format: int64
             * @description The number of the charger's connection: greater for each newer one.
             */
            epoch: number;
            /** Format: uuid */
            gateway_id: string;
            kind: string;
            /**
             * Format: int64
             * @description From the record of a call to a charger to the record of its reply, in milliseconds. Null for the calls of chargers:
             *     when their answer was sent is not recorded.
             */
            latency_ms?: number | null;
            message_id: string;
            notes: string[];
            ocpp_version: components["schemas"]["OcppVersion"];
            pair?: components["schemas"]["Message"] | null;
            /** @description JSON if it is valid JSON, else a text; null if there is none. */
            payload: unknown;
            /** @description Explains the notes. */
            reason: string;
            /** Format: date-time */
            received_at: string;
            /** @description Only where a payload or an answer is not shown byte for byte: the record's bytes in Base64. */
            record?: string;
            /** @description `GATEWAY/NUMBER` */
            record_id: string;
            /** @description Only where `***` is in place of a secret in the payload or the answer, and then true. Such a row has no `record`. */
            redacted?: boolean;
            /**
             * Format: int64
             * @description The number in `record_id`.
             */
            seq: number;
            /**
             * Format: uuid
             * @description The `key` of that transaction. Where a charger uses an id again, that of the latest transaction that had started.
             */
            transaction?: string | null;
            /** @description The id on the wire of the transaction that the message or its pair names. */
            transaction_id?: string | null;
        };
        /** @description The answer of `/health/live`. */
        Live: {
            live: boolean;
        };
        /** @description The local authorization list of a charger. */
        LocalList: {
            charger_id: string;
            /**
             * Format: date-time
             * @description When the charger's version was last confirmed.
             */
            checked_at?: string | null;
            /**
             * Format: uuid
             * @description The command that is outstanding.
             */
            command_id?: string | null;
            /**
             * Format: int32
             * @description The most entries that the charger can hold, if it says so.
             */
            entries_max?: number | null;
            /**
             * Format: int64
             * @description How many entries of the wanted list the charger has, while it is sent.
             */
            entries_sent?: number | null;
            /**
             * Format: int64
             * @description Tokens that the list should hold.
             */
            entries_wanted?: number | null;
            /**
             * Format: int32
             * @description Refusals in a row; after three, sending stops.
             */
            refusals: number;
            state: components["schemas"]["LocalListState"];
            /**
             * Format: int64
             * @description The version that the charger has, as far as it is known.
             */
            version_at_charger?: number | null;
            /**
             * Format: int64
             * @description The version that is being sent, or that the charger should have.
             */
            version_wanted?: number | null;
            /** @description Why it is in this state, and what to do. */
            why?: string | null;
            /** @description The wish that holds for it. */
            wish: components["schemas"]["LocalListWish"];
        };
        /** @description The wish for the lists of all chargers without one of their own. */
        LocalListDefault: {
            wish?: components["schemas"]["LocalListWish"] | null;
        };
        /**
         * @description How far a local list is; docs/tokens.md explains the states.
         * @enum {string}
         */
        LocalListState: "unknown" | "in_sync" | "waiting_for_charger" | "sending" | "uncertain" | "rejected" | "not_supported" | "too_long";
        /**
         * @description Which tokens a local list holds.
         * @enum {string}
         */
        LocalListTokens: "all" | "group" | "none";
        /** @description Which tokens a local list holds. Only tokens that may charge are in a list. */
        LocalListWish: {
            /** @description The group, only with `"tokens": "group"`. */
            group?: string;
            /** @description `all`, `group`, or `none` for an empty list. */
            tokens: components["schemas"]["LocalListTokens"];
        };
        /** @description A message with its answer, or an event of a connection or a gateway. */
        Message: {
            action: string;
            /** @description The payload of a CALLRESULT, or `[code, description, details]` of a CALLERROR. */
            answer: unknown;
            /** @description Empty for a record of the gateway itself. */
            charger_id: string;
            /** @description `from_charger` or `to_charger`: who sent `payload`. */
            direction: string;
            /**
             * Format: int64
             * @description The number of the charger's connection: greater for each newer one.
             */
            epoch: number;
            /** Format: uuid */
            gateway_id: string;
            kind: string;
            message_id: string;
            notes: string[];
            ocpp_version: components["schemas"]["OcppVersion"];
            /** @description JSON if it is valid JSON, else a text; null if there is none. */
            payload: unknown;
            /** @description Explains the notes. */
            reason: string;
            /** Format: date-time */
            received_at: string;
            /** @description Only where a payload or an answer is not shown byte for byte: the record's bytes in Base64. */
            record?: string;
            /** @description `GATEWAY/NUMBER` */
            record_id: string;
            /** @description Only where `***` is in place of a secret in the payload or the answer, and then true. Such a row has no `record`. */
            redacted?: boolean;
            /**
             * Format: int64
             * @description The number in `record_id`.
             */
            seq: number;
        };
        /** @description A message with what belongs to it. */
        MessageWithPair: components["schemas"]["Message"] & {
            /**
             * Format: uuid
             * @description The `id` of the command whose call it is, or belongs to.
             */
            command_id?: string | null;
            /**
             * @description Where the payload and the answer deviate from the schemas of the version and the action, whatever was tolerated: 16 places
             *     at most in each.
             */
            deviations: components["schemas"]["Deviation"][];
            /**
             * Format: int64
             * @description From the record of a call to a charger to the record of its reply, in milliseconds. Null for the calls of chargers:
             *     when their answer was sent is not recorded.
             */
            latency_ms?: number | null;
            pair?: components["schemas"]["Message"] | null;
            /**
             * Format: uuid
             * @description The `key` of that transaction. Where a charger uses an id again, that of the latest transaction that had started.
             */
            transaction?: string | null;
            /** @description The id on the wire of the transaction that the message or its pair names. */
            transaction_id?: string | null;
        };
        /** @description A key to be added. */
        NewApiKey: {
            /**
             * Format: date-time
             * @description When it expires. Default null: never.
             */
            expires_at?: string | null;
            /**
             * @description 1 to 100 characters without blanks at its ends and without control characters.
             * @example grafana
             */
            name: string;
            scope: components["schemas"]["Scope"];
        };
        /** @description A batch to be created: `action` with `payload` or `operation` with `parameters`, for `chargers` or a `filter`. */
        NewBatch: {
            /** @description The action of OCPP, in any letter case. */
            action?: string | null;
            /**
             * Format: int32
             * @description How long each charger may take to answer: 1,000 to 600,000; default 30,000.
             */
            answer_within_ms?: number | null;
            /**
             * Format: int32
             * @description Commands that are under way at once: 1 to 500; default 20.
             */
            at_once?: number | null;
            /** @description Identities, in the order of their turns; at most 20,000. */
            chargers?: string[] | null;
            /**
             * Format: date-time
             * @description No command is started at or after this time: within 30 days; default one day.
             */
            expires_at?: string | null;
            filter?: components["schemas"]["BatchFilter"] | null;
            /**
             * @description The name of an operation, such as `limit`: the last segment of its path.
             * @example reset
             */
            operation?: string | null;
            /** @description The body of the operation; `{}` if it is absent. */
            parameters?: Record<string, never> | null;
            /** @description Its payload; `{}` if it is absent. */
            payload?: Record<string, never> | null;
            /**
             * Format: int32
             * @description Commands that are started each second: 1 to 200; default 20.
             */
            per_second?: number | null;
            /**
             * Format: int32
             * @description Halts when this number of chargers has failed.
             */
            stop_after_failures?: number | null;
            /**
             * Format: int32
             * @description Halts when this share of the finished chargers has failed and at least 10 have finished: 1 to 100.
             */
            stop_at_failed_percent?: number | null;
            /** @description `fail` (the default: a charger that is not connected when its turn comes has failed) or `wait`. */
            when_offline?: string | null;
        };
        /** @description A charger to be added. */
        NewCharger: {
            admission?: components["schemas"]["Admission"] | null;
            /**
             * @description The identity: the last part of the URL that the charger connects to. 1 to 255 bytes without `/` and control
             *     characters.
             * @example CP-17
             */
            charger_id: string;
            check?: components["schemas"]["CheckMode"] | null;
            close_style?: components["schemas"]["CloseStyle"] | null;
            /**
             * Format: int32
             * @description Bytes of one of its messages at most. Default null: `gateway.frame_bytes_max`.
             */
            frame_bytes_max?: number | null;
            /** @description The group of chargers to which it belongs. */
            group?: string | null;
            /** @description The text that people see beside the identity. */
            label?: string | null;
            /** @description Its password for Basic authentication, 8 to 64 bytes; only a hash of it is stored. Default null: none is required. */
            password?: string | null;
            /** @description The `id` of the site where it stands, which must exist. */
            site?: string | null;
        };
        /** @description A command to be sent. */
        NewCommand: {
            /**
             * @description The action of OCPP, in any letter case.
             * @example Reset
             */
            action: string;
            /**
             * Format: int32
             * @description How long the charger may take to answer: 1,000 to 600,000; default 30,000.
             */
            answer_within_ms?: number | null;
            /**
             * Format: date-time
             * @description Until when a command waits: within 30 days; default one hour.
             */
            expires_at?: string | null;
            /** @description A JSON object; `{}` if it is absent. */
            payload?: Record<string, never> | null;
            /** @description `fail` (the default: it is not sent if the charger is not connected) or `wait`. */
            when_offline?: string | null;
        };
        /** @description How a connection is closed. */
        NewDisconnect: {
            /**
             * Format: int32
             * @description The close code of WebSocket that the charger gets: 1000, 1001 (the default), 1008, 1011, 1012, 1013, or 3000 to 4999.
             * @example 1001
             */
            code?: number | null;
            /** @description The reason in the close frame and in the record of the end: 1 to 123 bytes of UTF-8 without control characters. */
            reason?: string | null;
        };
        /** @description A new password, which is sent to the charger. */
        NewPassword: {
            /**
             * Format: int32
             * @description How long the charger may take to answer; default 30,000.
             */
            answer_within_ms?: number | null;
            /**
             * Format: date-time
             * @description Until when it waits: within 30 days; default one hour.
             */
            expires_at?: string | null;
            /**
             * @description 16 to 20 printable ASCII characters without space, quotes and backslash, or 32 to 40 hexadecimal digits, an even
             *     number of them. Without it a random one is made, which nobody is told.
             */
            password?: string;
            /** @description `wait` (the default: it is sent when the charger connects, until `expires_at`) or `fail`. */
            when_offline?: string;
        };
        /** @description A silence to be added. It needs one of `name`, `charger_id`, `group` and `site`. */
        NewSilence: {
            /** @description Only those of this charger; letter case is ignored. */
            charger_id?: string | null;
            /** @description At most 500 characters. */
            comment?: string | null;
            /**
             * Format: date-time
             * @description After `starts_at`, at most 366 days.
             */
            ends_at: string;
            /** @description Only those with this group. */
            group?: string | null;
            /** @description Only alerts of this rule. */
            name?: string | null;
            /** @description Only those of the site with this id, and of its chargers. */
            site?: string | null;
            /**
             * Format: date-time
             * @description Default: now.
             */
            starts_at?: string | null;
            /** @description Only those about this subject, as alerts have it; empty: only the one about all together. */
            subject?: string | null;
        };
        /** @description A site to be added. */
        NewSite: {
            /** @description Its postal address, on one line. */
            address?: string | null;
            /**
             * @description 1 to 64 characters of a-z, 0-9, `-`, `_` and `.`, of which the first is a letter or a digit.
             * @example depot-7
             */
            id: string;
            /**
             * Format: double
             * @description Degrees north; with `longitude` or not at all.
             */
            latitude?: number | null;
            /**
             * Format: double
             * @description Degrees east; with `latitude` or not at all.
             */
            longitude?: number | null;
            name: string;
            /**
             * @description The name of its time zone in the IANA database. Only its form is checked.
             * @example Europe/Berlin
             */
            time_zone?: string | null;
        };
        /** @description A user to be added. */
        NewUser: {
            /**
             * @description 1 to 64 of the characters a-z, 0-9, `.`, `_`, `-`, `@` and `+`.
             * @example anna
             */
            name: string;
            password: string;
            scope: components["schemas"]["Scope"];
        };
        /** @description A webhook to be added. */
        NewWebhook: {
            /** @description Only events of this charger. */
            charger_id?: string | null;
            /** @description At most 200 characters. */
            description?: string | null;
            /** @description Default true. */
            enabled?: boolean | null;
            /** @description `whsec_` followed by the Base64 text of 24 to 64 random bytes; absent for a new one. */
            secret?: string | null;
            /** @description The types of its events; absent or empty for all. */
            types?: string[] | null;
            /**
             * @description `https`; the settings `webhooks.allow_http` and `webhooks.allowed_networks` allow more.
             * @example https://example.com/hook
             */
            url: string;
        };
        /**
         * @description The version of OCPP.
         * @enum {string}
         */
        OcppVersion: "1.6" | "2.0.1" | "2.1";
        /** @description What became of a command. */
        Outcome: {
            /** @description `not_sent`, `answered` or `uncertain`. */
            class: string;
            detail?: string | null;
            /** @description The charger's CALLERROR: `[code, description, details]`. */
            error: unknown;
            /** @description The payload of the charger's CALLRESULT. */
            payload: unknown;
            /** @description Why it was not sent or is uncertain. */
            reason?: string | null;
            /** @description The `status` in the charger's answer, if it has one. */
            status?: string | null;
        };
        /** @description Another password of the user who has signed in. */
        OwnPassword: {
            /** @description The password that the user has now. */
            current: string;
            password: string;
        };
        /** @description A page of a list. */
        Page_Action: {
            /**
             * Format: date-time
             * @description For when the answer is. Absent where the header `Wattpost-As-Of` says so alone.
             */
            as_of?: string;
            items: {
                /** @example Reset */
                action: string;
                /**
                 * @description What a charger does with it when it is not delivered: `T` (part of a transaction) and `Q` are queued, `N` is not,
                 *     `S` has no answer.
                 */
                delivery_class: string;
                ocpp_version: components["schemas"]["OcppVersion"];
                /**
                 * @description Of 1.6 the feature profile, of 2.x the functional block.
                 * @example Core
                 */
                profile: string;
                /**
                 * @description Whether a command may be sent again without harm: `always`, `never`, or `by_payload` if that depends on the
                 *     payload. Null if only chargers send it.
                 */
                safe_to_repeat?: string | null;
                /** @description Who may send it: `charger`, `central_system` or `both`. */
                sent_by: string;
            }[];
            /**
             * Format: int64
             * @description By how many milliseconds at most the database was behind what chargers were answered for; null if that is not known.
             */
            lag_ms?: number | null;
            /** @description The `cursor` of the next page; null at the end. */
            next?: string | null;
            /** @description Whether the database is unavailable and this is an earlier answer. */
            stale?: boolean;
            /** @description Why it is stale; null if it is not. */
            stale_because?: string | null;
        };
        /** @description A page of a list. */
        Page_Alert: {
            /**
             * Format: date-time
             * @description For when the answer is. Absent where the header `Wattpost-As-Of` says so alone.
             */
            as_of?: string;
            items: {
                acknowledged?: components["schemas"]["AlertAcknowledged"] | null;
                /**
                 * Format: date-time
                 * @description Since when the condition has held.
                 */
                active_at: string;
                /** @description What is lost or at risk. */
                at_stake: string;
                /** @description The charger, where it is about one. */
                charger_id?: string | null;
                /**
                 * Format: date-time
                 * @description When it began to fire.
                 */
                fired_at?: string | null;
                /** @description The gateway of the charger, or empty. */
                group: string;
                /** Format: uuid */
                id: string;
                /** @description The name of the alert that explains this one, so that nobody is told. */
                inhibited_by?: string | null;
                /** @description The addresses of the alert, of the charger and of the site. */
                links: unknown;
                /**
                 * Format: date-time
                 * @description When the mail of its firing was accepted by the server.
                 */
                mailed_at?: string | null;
                /** @description The name of its rule. */
                name: string;
                /**
                 * Format: int32
                 * @description How often the condition has begun to hold, with the occurrences before that followed each other within an hour.
                 */
                occurrences: number;
                /**
                 * Format: date-time
                 * @description When it ended.
                 */
                resolved_at?: string | null;
                /** @description `page`, `ticket` or `info`. */
                severity: string;
                /**
                 * Format: uuid
                 * @description The silence because of which nobody is told.
                 */
                silenced_by?: string | null;
                /** @description The id of the site of the charger, or of the site that it is about. */
                site?: string | null;
                /** @description `pending`, `firing` or `resolved`. */
                state: string;
                /** @description A process, a charger, a connector, a transaction, a command or a webhook; empty for all together. */
                subject: string;
                /** @description What has happened. */
                summary: string;
                /** @description What to do. */
                to_do: string;
            }[];
            /**
             * Format: int64
             * @description By how many milliseconds at most the database was behind what chargers were answered for; null if that is not known.
             */
            lag_ms?: number | null;
            /** @description The `cursor` of the next page; null at the end. */
            next?: string | null;
            /** @description Whether the database is unavailable and this is an earlier answer. */
            stale?: boolean;
            /** @description Why it is stale; null if it is not. */
            stale_because?: string | null;
        };
        /** @description A page of a list. */
        Page_ApiKey: {
            /**
             * Format: date-time
             * @description For when the answer is. Absent where the header `Wattpost-As-Of` says so alone.
             */
            as_of?: string;
            items: {
                /** Format: date-time */
                created_at: string;
                /**
                 * Format: date-time
                 * @description From this time on it is refused; null: never.
                 */
                expires_at?: string | null;
                /** Format: uuid */
                id: string;
                /**
                 * Format: date-time
                 * @description Its latest use, about a minute late.
                 */
                last_used_at?: string | null;
                /** @description The operator's name for it, unique among the keys that exist. */
                name: string;
                scope: components["schemas"]["Scope"];
            }[];
            /**
             * Format: int64
             * @description By how many milliseconds at most the database was behind what chargers were answered for; null if that is not known.
             */
            lag_ms?: number | null;
            /** @description The `cursor` of the next page; null at the end. */
            next?: string | null;
            /** @description Whether the database is unavailable and this is an earlier answer. */
            stale?: boolean;
            /** @description Why it is stale; null if it is not. */
            stale_because?: string | null;
        };
        /** @description A page of a list. */
        Page_AuditEntry: {
            /**
             * Format: date-time
             * @description For when the answer is. Absent where the header `Wattpost-As-Of` says so alone.
             */
            as_of?: string;
            items: {
                /** @description What was done, such as `charger.set`; docs/api.md has all. */
                action: string;
                /** @description The subject after the change; null if it no longer exists. */
                after: unknown;
                /** Format: date-time */
                at: string;
                /** @description The subject before the change; null if it did not exist. */
                before: unknown;
                by: components["schemas"]["Actor"];
                /** @description A client's address, or the name of the machine on which a command ran. */
                from: string;
                /**
                 * Format: int64
                 * @description A later entry has a larger number.
                 */
                no: number;
                /** @description Null for the command line. */
                request_id?: string | null;
                /** @description The identity of the charger, the id of the token, or the name of the key or the user. */
                subject: string;
                /** @description The `traceparent` of the request (W3C Trace Context); null if it had none. */
                traceparent?: string | null;
            }[];
            /**
             * Format: int64
             * @description By how many milliseconds at most the database was behind what chargers were answered for; null if that is not known.
             */
            lag_ms?: number | null;
            /** @description The `cursor` of the next page; null at the end. */
            next?: string | null;
            /** @description Whether the database is unavailable and this is an earlier answer. */
            stale?: boolean;
            /** @description Why it is stale; null if it is not. */
            stale_because?: string | null;
        };
        /** @description A page of a list. */
        Page_Batch: {
            /**
             * Format: date-time
             * @description For when the answer is. Absent where the header `Wattpost-As-Of` says so alone.
             */
            as_of?: string;
            items: {
                /** @description With `payload`; or else it has `operation` and `parameters`. */
                action?: string | null;
                /** Format: int32 */
                answer_within_ms: number;
                /** Format: int32 */
                at_once: number;
                /** @description Who created it. */
                by: string;
                counts: components["schemas"]["BatchCounts"];
                /** Format: date-time */
                created_at: string;
                /** @description Why it has this state; empty if there is nothing to say. */
                detail: string;
                /**
                 * Format: date-time
                 * @description No command is started at or after this time.
                 */
                expires_at: string;
                /** Format: uuid */
                id: string;
                operation?: string | null;
                parameters?: Record<string, never> | null;
                payload?: Record<string, never> | null;
                /** Format: int32 */
                per_second: number;
                /** @description `running`, `paused`, `halted` (by its stop rule), `cancelled` or `done`. */
                state: string;
                /** Format: int32 */
                stop_after_failures?: number | null;
                /** Format: int32 */
                stop_at_failed_percent?: number | null;
                /**
                 * Format: int64
                 * @description The number of its chargers.
                 */
                total: number;
                /** @description The `traceparent` of the request that created it, which its commands have (W3C Trace Context). */
                traceparent?: string | null;
                /** @description `fail` or `wait`. */
                when_offline: string;
            }[];
            /**
             * Format: int64
             * @description By how many milliseconds at most the database was behind what chargers were answered for; null if that is not known.
             */
            lag_ms?: number | null;
            /** @description The `cursor` of the next page; null at the end. */
            next?: string | null;
            /** @description Whether the database is unavailable and this is an earlier answer. */
            stale?: boolean;
            /** @description Why it is stale; null if it is not. */
            stale_because?: string | null;
        };
        /** @description A page of a list. */
        Page_BatchItem: {
            /**
             * Format: date-time
             * @description For when the answer is. Absent where the header `Wattpost-As-Of` says so alone.
             */
            as_of?: string;
            items: {
                charger_id: string;
                command?: components["schemas"]["Command"] | null;
                /** @description Why it has this state; empty if there is nothing to say. */
                detail: string;
                /** @description `pending`, `started`, `succeeded`, `failed` or `not_started`. */
                state: string;
            }[];
            /**
             * Format: int64
             * @description By how many milliseconds at most the database was behind what chargers were answered for; null if that is not known.
             */
            lag_ms?: number | null;
            /** @description The `cursor` of the next page; null at the end. */
            next?: string | null;
            /** @description Whether the database is unavailable and this is an earlier answer. */
            stale?: boolean;
            /** @description Why it is stale; null if it is not. */
            stale_because?: string | null;
        };
        /** @description A page of a list. */
        Page_Charger: {
            /**
             * Format: date-time
             * @description For when the answer is. Absent where the header `Wattpost-As-Of` says so alone.
             */
            as_of?: string;
            items: {
                boot?: components["schemas"]["Boot"] | null;
                /**
                 * Format: date-time
                 * @description When its latest BootNotification was received.
                 */
                booted_at?: string | null;
                /**
                 * @description Its identity in its latest spelling.
                 * @example CP-17
                 */
                charger_id: string;
                /**
                 * Format: date-time
                 * @description When the newest connection began.
                 */
                connected_at?: string | null;
                /**
                 * @description What is known of its newest connection: its end is not recorded and its gateway runs (`open`), it has ended or
                 *     there was none (`closed`), or its gateway does not report (`unknown`).
                 */
                connection: components["schemas"]["ConnectionState"];
                /** @description Its connectors. */
                connectors: components["schemas"]["Connector"][];
                /** @description Why it ended. */
                disconnect_reason?: string | null;
                /**
                 * Format: date-time
                 * @description When that connection ended, if the end is known.
                 */
                disconnected_at?: string | null;
                /** @description Its firmware status. */
                firmware_status?: string | null;
                /**
                 * Format: date-time
                 * @description When its first record was received.
                 */
                first_seen_at?: string | null;
                /**
                 * Format: uuid
                 * @description The gateway that holds or held its newest connection.
                 */
                gateway_id?: string | null;
                /**
                 * Format: date-time
                 * @description When its latest record was received.
                 */
                last_seen_at?: string | null;
                /** @description Addresses of what belongs to it. */
                links: components["schemas"]["Links"];
                ocpp_version?: components["schemas"]["OcppVersion"] | null;
                /** @description Whether it is known to be connected. */
                online: boolean;
                /** @description Its address in that connection. */
                remote?: string | null;
                /**
                 * Format: date-time
                 * @description When an operator removed it; null if it is added, or was never removed.
                 */
                removed_at?: string | null;
                removed_by?: components["schemas"]["Actor"] | null;
                settings?: components["schemas"]["ChargerSettings"] | null;
            }[];
            /**
             * Format: int64
             * @description By how many milliseconds at most the database was behind what chargers were answered for; null if that is not known.
             */
            lag_ms?: number | null;
            /** @description The `cursor` of the next page; null at the end. */
            next?: string | null;
            /** @description Whether the database is unavailable and this is an earlier answer. */
            stale?: boolean;
            /** @description Why it is stale; null if it is not. */
            stale_because?: string | null;
        };
        /** @description A page of a list. */
        Page_ChargerConnection: {
            /**
             * Format: date-time
             * @description For when the answer is. Absent where the header `Wattpost-As-Of` says so alone.
             */
            as_of?: string;
            items: {
                /**
                 * Format: date-time
                 * @description When it began.
                 */
                connected_at: string;
                /**
                 * Format: date-time
                 * @description When it ended; null unless `end` is `closed`.
                 */
                disconnected_at?: string | null;
                /**
                 * Format: int64
                 * @description Milliseconds until it ended, or until now while it is open; null if its end is not known.
                 */
                duration_ms?: number | null;
                end: components["schemas"]["ConnectionEnd"];
                /**
                 * Format: date-time
                 * @description If `end` is `not_recorded`: it had ended when its gateway started again, or the charger connected again.
                 */
                ended_before?: string | null;
                /**
                 * Format: int64
                 * @description Its number: of two connections of a charger the one with the greater number is the newer.
                 */
                epoch: number;
                /**
                 * Format: uuid
                 * @description The gateway that held it.
                 */
                gateway_id: string;
                /**
                 * Format: date-time
                 * @description When its last record was received, unless `end` is `closed`: it had not ended before.
                 */
                last_record_at?: string | null;
                ocpp_version: components["schemas"]["OcppVersion"];
                /** @description Why it ended; null unless `end` is `closed`. */
                reason?: string | null;
                /** @description The address of its peer; null if its begin is not in the database. */
                remote?: string | null;
            }[];
            /**
             * Format: int64
             * @description By how many milliseconds at most the database was behind what chargers were answered for; null if that is not known.
             */
            lag_ms?: number | null;
            /** @description The `cursor` of the next page; null at the end. */
            next?: string | null;
            /** @description Whether the database is unavailable and this is an earlier answer. */
            stale?: boolean;
            /** @description Why it is stale; null if it is not. */
            stale_because?: string | null;
        };
        /** @description A page of a list. */
        Page_Command: {
            /**
             * Format: date-time
             * @description For when the answer is. Absent where the header `Wattpost-As-Of` says so alone.
             */
            as_of?: string;
            items: {
                action: string;
                /** Format: int32 */
                answer_within_ms: number;
                /** Format: date-time */
                answered_at?: string | null;
                /** @description Who requested it. */
                by: string;
                charger_id: string;
                /** @description `on`, or `off` if the payload is sent without a check against the schema. */
                check: string;
                /** Format: date-time */
                created_at: string;
                /** @description What followed the answer. */
                effect: components["schemas"]["Effect"];
                /**
                 * Format: date-time
                 * @description It is not sent at or after this time.
                 */
                expires_at: string;
                /**
                 * Format: uuid
                 * @description The gateway that has or had it.
                 */
                gateway_id?: string | null;
                /**
                 * Format: uuid
                 * @description Its id; also the message id of the call.
                 */
                id: string;
                /** @description Addresses of what belongs to it. */
                links: components["schemas"]["Links"];
                outcome?: components["schemas"]["Outcome"] | null;
                payload: unknown;
                /** @description The records of the call, the answer, and the end without one. */
                record_ids: string[];
                /**
                 * Format: uuid
                 * @description The command that this one repeats, because pages of its report were missing.
                 */
                repeats?: string | null;
                /** @description Whether sending it again does no harm. */
                safe_to_repeat: boolean;
                /** Format: date-time */
                sent_at?: string | null;
                /** @description `queued`, `waiting_for_charger` (queued, and the charger is not connected), `claimed` (a gateway has it), `sent` or `done`. */
                state: string;
                /** @description The `traceparent` of the request (W3C Trace Context); null if it had none. */
                traceparent?: string | null;
                /**
                 * @description What is doubtful about the request, such as an EVSE that the charger has not reported. Only in the answer to the
                 *     request, and only if there is something.
                 */
                warnings?: string[] | null;
                /** @description `fail` or `wait`. */
                when_offline: string;
            }[];
            /**
             * Format: int64
             * @description By how many milliseconds at most the database was behind what chargers were answered for; null if that is not known.
             */
            lag_ms?: number | null;
            /** @description The `cursor` of the next page; null at the end. */
            next?: string | null;
            /** @description Whether the database is unavailable and this is an earlier answer. */
            stale?: boolean;
            /** @description Why it is stale; null if it is not. */
            stale_because?: string | null;
        };
        /** @description A page of a list. */
        Page_Connector: {
            /**
             * Format: date-time
             * @description For when the answer is. Absent where the header `Wattpost-As-Of` says so alone.
             */
            as_of?: string;
            items: {
                charger_id: string;
                /**
                 * Format: int64
                 * @description The connector; 0 is the whole EVSE or charger.
                 */
                connector: number;
                /** @description The error code of `last_status`. */
                error_code?: string | null;
                /**
                 * Format: int64
                 * @description The EVSE; 0 for OCPP 1.6.
                 */
                evse: number;
                /** @description The charger's description of the error. */
                info?: string | null;
                /** @description The status that the charger reported last. */
                last_status?: string | null;
                /**
                 * Format: date-time
                 * @description Since when it had that status, by its clock.
                 */
                last_status_at?: string | null;
                /**
                 * Format: date-time
                 * @description Since when it has this status.
                 */
                since?: string | null;
                /** @description The status, or `Unknown`. */
                status: string;
                unknown_reason?: components["schemas"]["UnknownReason"] | null;
                /** @description The vendor's error code. */
                vendor_error_code?: string | null;
            }[];
            /**
             * Format: int64
             * @description By how many milliseconds at most the database was behind what chargers were answered for; null if that is not known.
             */
            lag_ms?: number | null;
            /** @description The `cursor` of the next page; null at the end. */
            next?: string | null;
            /** @description Whether the database is unavailable and this is an earlier answer. */
            stale?: boolean;
            /** @description Why it is stale; null if it is not. */
            stale_because?: string | null;
        };
        /** @description A page of a list. */
        Page_DeadLetter: {
            /**
             * Format: date-time
             * @description For when the answer is. Absent where the header `Wattpost-As-Of` says so alone.
             */
            as_of?: string;
            items: {
                /** @description The action of OCPP; null likewise. */
                action?: string | null;
                /**
                 * Format: date-time
                 * @description When it became a dead letter.
                 */
                at: string;
                /** @description Null if the record has no charger or cannot be decoded. */
                charger_id?: string | null;
                /** @description Its bytes; U+FFFD replaces what is not UTF-8. Null if it was discarded. */
                content?: string | null;
                discarded?: components["schemas"]["Discarded"] | null;
                /** @description Why it cannot be applied. */
                reason: string;
                /** @description `GATEWAY/NUMBER`: also the end of the address of the dead letter. */
                record_id: string;
                /** Format: int64 */
                size_bytes: number;
                state: components["schemas"]["DeadLetterState"];
            }[];
            /**
             * Format: int64
             * @description By how many milliseconds at most the database was behind what chargers were answered for; null if that is not known.
             */
            lag_ms?: number | null;
            /** @description The `cursor` of the next page; null at the end. */
            next?: string | null;
            /** @description Whether the database is unavailable and this is an earlier answer. */
            stale?: boolean;
            /** @description Why it is stale; null if it is not. */
            stale_because?: string | null;
        };
        /** @description A page of a list. */
        Page_ListedMessage: {
            /**
             * Format: date-time
             * @description For when the answer is. Absent where the header `Wattpost-As-Of` says so alone.
             */
            as_of?: string;
            items: {
                action: string;
                /** @description The payload of a CALLRESULT, or `[code, description, details]` of a CALLERROR. */
                answer: unknown;
                /** @description Empty for a record of the gateway itself. */
                charger_id: string;
                /**
                 * Format: uuid
                 * @description The `id` of the command whose call it is, or belongs to.
                 */
                command_id?: string | null;
                /** @description `from_charger` or `to_charger`: who sent `payload`. */
                direction: string;
                /**
                 * Format: int64
                 * @description The number of the charger's connection: greater for each newer one.
                 */
                epoch: number;
                /** Format: uuid */
                gateway_id: string;
                kind: string;
                /**
                 * Format: int64
                 * @description From the record of a call to a charger to the record of its reply, in milliseconds. Null for the calls of chargers:
                 *     when their answer was sent is not recorded.
                 */
                latency_ms?: number | null;
                message_id: string;
                notes: string[];
                ocpp_version: components["schemas"]["OcppVersion"];
                pair?: components["schemas"]["Message"] | null;
                /** @description JSON if it is valid JSON, else a text; null if there is none. */
                payload: unknown;
                /** @description Explains the notes. */
                reason: string;
                /** Format: date-time */
                received_at: string;
                /** @description Only where a payload or an answer is not shown byte for byte: the record's bytes in Base64. */
                record?: string;
                /** @description `GATEWAY/NUMBER` */
                record_id: string;
                /** @description Only where `***` is in place of a secret in the payload or the answer, and then true. Such a row has no `record`. */
                redacted?: boolean;
                /**
                 * Format: int64
                 * @description The number in `record_id`.
                 */
                seq: number;
                /**
                 * Format: uuid
                 * @description The `key` of that transaction. Where a charger uses an id again, that of the latest transaction that had started.
                 */
                transaction?: string | null;
                /** @description The id on the wire of the transaction that the message or its pair names. */
                transaction_id?: string | null;
            }[];
            /**
             * Format: int64
             * @description By how many milliseconds at most the database was behind what chargers were answered for; null if that is not known.
             */
            lag_ms?: number | null;
            /** @description The `cursor` of the next page; null at the end. */
            next?: string | null;
            /** @description Whether the database is unavailable and this is an earlier answer. */
            stale?: boolean;
            /** @description Why it is stale; null if it is not. */
            stale_because?: string | null;
        };
        /** @description A page of a list. */
        Page_LocalList: {
            /**
             * Format: date-time
             * @description For when the answer is. Absent where the header `Wattpost-As-Of` says so alone.
             */
            as_of?: string;
            items: {
                charger_id: string;
                /**
                 * Format: date-time
                 * @description When the charger's version was last confirmed.
                 */
                checked_at?: string | null;
                /**
                 * Format: uuid
                 * @description The command that is outstanding.
                 */
                command_id?: string | null;
                /**
                 * Format: int32
                 * @description The most entries that the charger can hold, if it says so.
                 */
                entries_max?: number | null;
                /**
                 * Format: int64
                 * @description How many entries of the wanted list the charger has, while it is sent.
                 */
                entries_sent?: number | null;
                /**
                 * Format: int64
                 * @description Tokens that the list should hold.
                 */
                entries_wanted?: number | null;
                /**
                 * Format: int32
                 * @description Refusals in a row; after three, sending stops.
                 */
                refusals: number;
                state: components["schemas"]["LocalListState"];
                /**
                 * Format: int64
                 * @description The version that the charger has, as far as it is known.
                 */
                version_at_charger?: number | null;
                /**
                 * Format: int64
                 * @description The version that is being sent, or that the charger should have.
                 */
                version_wanted?: number | null;
                /** @description Why it is in this state, and what to do. */
                why?: string | null;
                /** @description The wish that holds for it. */
                wish: components["schemas"]["LocalListWish"];
            }[];
            /**
             * Format: int64
             * @description By how many milliseconds at most the database was behind what chargers were answered for; null if that is not known.
             */
            lag_ms?: number | null;
            /** @description The `cursor` of the next page; null at the end. */
            next?: string | null;
            /** @description Whether the database is unavailable and this is an earlier answer. */
            stale?: boolean;
            /** @description Why it is stale; null if it is not. */
            stale_because?: string | null;
        };
        /** @description A page of a list. */
        Page_Message: {
            /**
             * Format: date-time
             * @description For when the answer is. Absent where the header `Wattpost-As-Of` says so alone.
             */
            as_of?: string;
            items: {
                action: string;
                /** @description The payload of a CALLRESULT, or `[code, description, details]` of a CALLERROR. */
                answer: unknown;
                /** @description Empty for a record of the gateway itself. */
                charger_id: string;
                /** @description `from_charger` or `to_charger`: who sent `payload`. */
                direction: string;
                /**
                 * Format: int64
                 * @description The number of the charger's connection: greater for each newer one.
                 */
                epoch: number;
                /** Format: uuid */
                gateway_id: string;
                kind: string;
                message_id: string;
                notes: string[];
                ocpp_version: components["schemas"]["OcppVersion"];
                /** @description JSON if it is valid JSON, else a text; null if there is none. */
                payload: unknown;
                /** @description Explains the notes. */
                reason: string;
                /** Format: date-time */
                received_at: string;
                /** @description Only where a payload or an answer is not shown byte for byte: the record's bytes in Base64. */
                record?: string;
                /** @description `GATEWAY/NUMBER` */
                record_id: string;
                /** @description Only where `***` is in place of a secret in the payload or the answer, and then true. Such a row has no `record`. */
                redacted?: boolean;
                /**
                 * Format: int64
                 * @description The number in `record_id`.
                 */
                seq: number;
            }[];
            /**
             * Format: int64
             * @description By how many milliseconds at most the database was behind what chargers were answered for; null if that is not known.
             */
            lag_ms?: number | null;
            /** @description The `cursor` of the next page; null at the end. */
            next?: string | null;
            /** @description Whether the database is unavailable and this is an earlier answer. */
            stale?: boolean;
            /** @description Why it is stale; null if it is not. */
            stale_because?: string | null;
        };
        /** @description A page of a list. */
        Page_QuirkSummary: {
            /**
             * Format: date-time
             * @description For when the answer is. Absent where the header `Wattpost-As-Of` says so alone.
             */
            as_of?: string;
            items: {
                /**
                 * Format: int64
                 * @description Chargers that needed it.
                 */
                chargers: number;
                /**
                 * Format: int64
                 * @description Messages that needed it.
                 */
                count: number;
                firmware: string;
                /** Format: date-time */
                first_at: string;
                /** Format: date-time */
                last_at: string;
                model: string;
                quirk: string;
                /** @description Empty if the chargers have not reported it; so are `model` and `firmware`. */
                vendor: string;
            }[];
            /**
             * Format: int64
             * @description By how many milliseconds at most the database was behind what chargers were answered for; null if that is not known.
             */
            lag_ms?: number | null;
            /** @description The `cursor` of the next page; null at the end. */
            next?: string | null;
            /** @description Whether the database is unavailable and this is an earlier answer. */
            stale?: boolean;
            /** @description Why it is stale; null if it is not. */
            stale_because?: string | null;
        };
        /** @description A page of a list. */
        Page_RefusedHandshake: {
            /**
             * Format: date-time
             * @description For when the answer is. Absent where the header `Wattpost-As-Of` says so alone.
             */
            as_of?: string;
            items: {
                /** @description From where the latest one came, without a port; of IPv6 the /64. */
                address: string;
                /** @description The identity as it came; null if the path has none. */
                charger_id?: string | null;
                /**
                 * Format: int64
                 * @description How many were refused.
                 */
                count: number;
                /** @description What an operator can do about it. */
                cure: string;
                /**
                 * Format: date-time
                 * @description When the first one was refused.
                 */
                first_at: string;
                /**
                 * Format: uuid
                 * @description The gateway that refused it.
                 */
                gateway_id: string;
                /**
                 * Format: date-time
                 * @description When the latest one was refused.
                 */
                last_at: string;
                /**
                 * Format: int64
                 * @description The number of the item; one that was added later has a larger one.
                 */
                no: number;
                /** @description The subprotocols that it offered. */
                offered?: string | null;
                /** @description Always `refused`. */
                outcome: string;
                /** @description Its path, without a query. */
                path?: string | null;
                /** @description Why, in the words of the gateway's log; docs/connecting-a-charger.md explains each. */
                reason: string;
                /**
                 * Format: int32
                 * @description The HTTP status of the answer to the charger. With an identity, 404 is a charger that is not added, 401 one without the
                 *     right credentials, and 400, 405, 426 and 431 are malformed requests.
                 */
                status: number;
            }[];
            /**
             * Format: int64
             * @description By how many milliseconds at most the database was behind what chargers were answered for; null if that is not known.
             */
            lag_ms?: number | null;
            /** @description The `cursor` of the next page; null at the end. */
            next?: string | null;
            /** @description Whether the database is unavailable and this is an earlier answer. */
            stale?: boolean;
            /** @description Why it is stale; null if it is not. */
            stale_because?: string | null;
        };
        /** @description A page of a list. */
        Page_Sample: {
            /**
             * Format: date-time
             * @description For when the answer is. Absent where the header `Wattpost-As-Of` says so alone.
             */
            as_of?: string;
            items: {
                /**
                 * Format: date-time
                 * @description The charger's time; when it was received if that is missing or implausible.
                 */
                at: string;
                /** Format: int64 */
                connector?: number | null;
                context: string;
                /**
                 * Format: int64
                 * @description The EVSE (2.x).
                 */
                evse?: number | null;
                location: string;
                measurand: string;
                /** @description Null for a value that is not of one phase. */
                phase?: string | null;
                /** @description Whether the charger signed it. */
                signed: boolean;
                /** @description As the charger wrote it; `Wh` for energy without a unit. */
                unit?: string | null;
                /**
                 * Format: double
                 * @description Times its multiplier (2.x); null if it is no number.
                 */
                value?: number | null;
            }[];
            /**
             * Format: int64
             * @description By how many milliseconds at most the database was behind what chargers were answered for; null if that is not known.
             */
            lag_ms?: number | null;
            /** @description The `cursor` of the next page; null at the end. */
            next?: string | null;
            /** @description Whether the database is unavailable and this is an earlier answer. */
            stale?: boolean;
            /** @description Why it is stale; null if it is not. */
            stale_because?: string | null;
        };
        /** @description A page of a list. */
        Page_Silence: {
            /**
             * Format: date-time
             * @description For when the answer is. Absent where the header `Wattpost-As-Of` says so alone.
             */
            as_of?: string;
            items: {
                /** @description Only those of this charger. */
                charger_id?: string | null;
                comment: string;
                /** Format: date-time */
                created_at: string;
                /** @description The name of the key or the user; null for a request without one. */
                created_by?: string | null;
                /** Format: date-time */
                ends_at: string;
                /** @description Only those with this group. */
                group?: string | null;
                /** Format: uuid */
                id: string;
                /** @description Only alerts of this rule. */
                name?: string | null;
                /** @description Only those of this site and of its chargers. */
                site?: string | null;
                /** Format: date-time */
                starts_at: string;
                /** @description `waiting`, `active` or `ended`. */
                state: string;
                /** @description Only those about this subject; empty: only the one about all together. */
                subject?: string | null;
            }[];
            /**
             * Format: int64
             * @description By how many milliseconds at most the database was behind what chargers were answered for; null if that is not known.
             */
            lag_ms?: number | null;
            /** @description The `cursor` of the next page; null at the end. */
            next?: string | null;
            /** @description Whether the database is unavailable and this is an earlier answer. */
            stale?: boolean;
            /** @description Why it is stale; null if it is not. */
            stale_because?: string | null;
        };
        /** @description A page of a list. */
        Page_Site: {
            /**
             * Format: date-time
             * @description For when the answer is. Absent where the header `Wattpost-As-Of` says so alone.
             */
            as_of?: string;
            items: {
                /** @description Its postal address. */
                address?: string | null;
                /**
                 * Format: int64
                 * @description How many chargers that were added are there. It is no part of the version that `ETag` names.
                 */
                chargers: number;
                /**
                 * @description Its id, which never changes.
                 * @example depot-7
                 */
                id: string;
                /**
                 * Format: double
                 * @description Degrees north; null if and only if `longitude` is.
                 */
                latitude?: number | null;
                /**
                 * Format: double
                 * @description Degrees east.
                 */
                longitude?: number | null;
                name: string;
                /**
                 * @description The name of its time zone in the IANA database.
                 * @example Europe/Berlin
                 */
                time_zone?: string | null;
            }[];
            /**
             * Format: int64
             * @description By how many milliseconds at most the database was behind what chargers were answered for; null if that is not known.
             */
            lag_ms?: number | null;
            /** @description The `cursor` of the next page; null at the end. */
            next?: string | null;
            /** @description Whether the database is unavailable and this is an earlier answer. */
            stale?: boolean;
            /** @description Why it is stale; null if it is not. */
            stale_because?: string | null;
        };
        /** @description A page of a list. */
        Page_Token: {
            /**
             * Format: date-time
             * @description For when the answer is. Absent where the header `Wattpost-As-Of` says so alone.
             */
            as_of?: string;
            items: {
                concurrent_transactions?: components["schemas"]["ConcurrentTransactions"] | null;
                /**
                 * Format: date-time
                 * @description When it expires.
                 */
                expires_at?: string | null;
                /** @description parentIdTag (1.6), groupIdToken (2.x). */
                group?: string | null;
                /**
                 * @description idTag (1.6) or idToken (2.x), in the operator's spelling.
                 * @example 04A2B3C4D5
                 */
                id: string;
                /**
                 * Format: date-time
                 * @description When the latest stored transaction that it was accepted for began; null if there is none.
                 */
                last_used_at?: string | null;
                /**
                 * @description The identity of that transaction's charger.
                 * @example CP-17
                 */
                last_used_by?: string | null;
                /**
                 * Format: int64
                 * @description The connector (1.6) or EVSE (2.x) there; null if the charger named none.
                 */
                last_used_connector?: number | null;
                /** @description A note of the operator, which no charger sees. */
                note?: string | null;
                /** @description The status that the operator has set. An accepted token is answered `Expired` from `expires_at` on. */
                status: components["schemas"]["TokenStatus"];
                /**
                 * @description The type of an idToken of 2.x.
                 * @example ISO14443
                 */
                type?: string | null;
            }[];
            /**
             * Format: int64
             * @description By how many milliseconds at most the database was behind what chargers were answered for; null if that is not known.
             */
            lag_ms?: number | null;
            /** @description The `cursor` of the next page; null at the end. */
            next?: string | null;
            /** @description Whether the database is unavailable and this is an earlier answer. */
            stale?: boolean;
            /** @description Why it is stale; null if it is not. */
            stale_because?: string | null;
        };
        /** @description A page of a list. */
        Page_Transaction: {
            /**
             * Format: date-time
             * @description For when the answer is. Absent where the header `Wattpost-As-Of` says so alone.
             */
            as_of?: string;
            items: {
                charger_id: string;
                /** @description chargingState (2.x). */
                charging_state?: string | null;
                /** @description What is doubtful about the energy. */
                checks: components["schemas"]["Check"][];
                closed?: components["schemas"]["Closed"] | null;
                /**
                 * Format: int64
                 * @description Further stops with the same id and other content.
                 */
                conflicting_stops: number;
                /** Format: int64 */
                connector?: number | null;
                /**
                 * Format: date-time
                 * @description When it ended according to its stop; null if none has arrived.
                 */
                ended_at?: string | null;
                energy_confidence?: components["schemas"]["Confidence"] | null;
                energy_from?: components["schemas"]["RegisterSource"] | null;
                energy_to?: components["schemas"]["RegisterSource"] | null;
                /**
                 * Format: double
                 * @description What was charged so far, in watt-hours; never negative.
                 */
                energy_wh?: number | null;
                /**
                 * Format: int64
                 * @description The EVSE (2.x).
                 */
                evse?: number | null;
                /** @description The token. */
                id_token?: string | null;
                /**
                 * Format: uuid
                 * @description Identifies it permanently; provisional while `started_at` is null.
                 */
                key: string;
                /**
                 * Format: date-time
                 * @description The latest time in any of its messages.
                 */
                last_at?: string | null;
                /** @description Addresses of what belongs to it. */
                links: components["schemas"]["Links"];
                /**
                 * Format: double
                 * @description Meter reading at the start, in watt-hours.
                 */
                meter_start_wh?: number | null;
                /**
                 * Format: double
                 * @description Meter reading at the end, in watt-hours.
                 */
                meter_stop_wh?: number | null;
                /** @description Missing sequence numbers, as inclusive ranges (2.x). */
                missing_seq: number[][];
                ocpp_version?: components["schemas"]["OcppVersion"] | null;
                /** @description Whether any message was queued by the charger while offline (2.x). */
                offline: boolean;
                /** @description Whether it runs: no stop has arrived, and it was not closed. */
                open: boolean;
                /**
                 * Format: double
                 * @description The last power, in watts.
                 */
                power_w?: number | null;
                /**
                 * Format: int64
                 * @description The id of the remote start that started it (2.x).
                 */
                remote_start_id?: number | null;
                /**
                 * Format: int64
                 * @description The reservation that it uses.
                 */
                reservation_id?: number | null;
                /**
                 * Format: double
                 * @description The last state of charge, in percent.
                 */
                soc_percent?: number | null;
                /**
                 * Format: date-time
                 * @description Null if its start has not arrived.
                 */
                started_at?: string | null;
                /** @description Why it ended. */
                stop_reason?: string | null;
                /** @description The token's type (2.x). */
                token_type?: string | null;
                /** @description The id in the charger's messages, which the charger may use again. */
                transaction_id: string;
                /** @description The token's status in the answer. */
                verdict?: string | null;
            }[];
            /**
             * Format: int64
             * @description By how many milliseconds at most the database was behind what chargers were answered for; null if that is not known.
             */
            lag_ms?: number | null;
            /** @description The `cursor` of the next page; null at the end. */
            next?: string | null;
            /** @description Whether the database is unavailable and this is an earlier answer. */
            stale?: boolean;
            /** @description Why it is stale; null if it is not. */
            stale_because?: string | null;
        };
        /** @description A page of a list. */
        Page_UnknownToken: {
            /**
             * Format: date-time
             * @description For when the answer is. Absent where the header `Wattpost-As-Of` says so alone.
             */
            as_of?: string;
            items: {
                /**
                 * @description The status that the latest message was answered, such as `Invalid`; `Accepted` by the policy for unknown tokens.
                 * @example Invalid
                 */
                answer: string;
                /** @example CP-17 */
                charger_id: string;
                /**
                 * Format: int64
                 * @description The connector (1.6) or EVSE (2.x) of the latest message; null if it names none.
                 */
                connector?: number | null;
                /**
                 * Format: int64
                 * @description Messages that presented it at the charger on the days that are kept.
                 */
                count: number;
                /**
                 * Format: date-time
                 * @description When it was first presented at the charger, of the days that are kept.
                 */
                first_at: string;
                /**
                 * @description idTag (1.6) or idToken (2.x), in the charger's latest spelling.
                 * @example 04A2B3C4D5
                 */
                id: string;
                /**
                 * Format: uuid
                 * @description Names the token, the same at all chargers, in `DELETE /api/v1/unknown-tokens/{key}`.
                 */
                key: string;
                /**
                 * Format: date-time
                 * @description When it was last presented at the charger.
                 */
                last_at: string;
                /**
                 * @description The type of an idToken of 2.x.
                 * @example ISO14443
                 */
                type?: string | null;
            }[];
            /**
             * Format: int64
             * @description By how many milliseconds at most the database was behind what chargers were answered for; null if that is not known.
             */
            lag_ms?: number | null;
            /** @description The `cursor` of the next page; null at the end. */
            next?: string | null;
            /** @description Whether the database is unavailable and this is an earlier answer. */
            stale?: boolean;
            /** @description Why it is stale; null if it is not. */
            stale_because?: string | null;
        };
        /** @description A page of a list. */
        Page_Uptime: {
            /**
             * Format: date-time
             * @description For when the answer is. Absent where the header `Wattpost-As-Of` says so alone.
             */
            as_of?: string;
            items: {
                charger_id: string;
                /**
                 * Format: int64
                 * @description Connections in the range.
                 */
                connections: number;
                /**
                 * Format: int64
                 * @description Milliseconds in which it was not connected, and could have been.
                 */
                down_ms: number;
                /**
                 * Format: int64
                 * @description Milliseconds that were excluded.
                 */
                excluded_ms: number;
                /** @description How it is computed, in words. */
                formula: string;
                /** Format: date-time */
                from: string;
                /** @description The newest 1,000 times in which it is not known to have been connected, the newest first. */
                gaps: components["schemas"]["UptimeGap"][];
                /**
                 * Format: int64
                 * @description Earlier ones.
                 */
                gaps_omitted: number;
                /** Format: date-time */
                to: string;
                /**
                 * Format: int64
                 * @description Milliseconds of which it is not known, or in which the central system was the cause.
                 */
                unknown_ms: number;
                /**
                 * Format: int64
                 * @description Milliseconds in which it was connected.
                 */
                up_ms: number;
                /**
                 * Format: double
                 * @description 100 * `up_ms` / (`up_ms` + `down_ms`); null if both are 0.
                 */
                uptime_percent?: number | null;
            }[];
            /**
             * Format: int64
             * @description By how many milliseconds at most the database was behind what chargers were answered for; null if that is not known.
             */
            lag_ms?: number | null;
            /** @description The `cursor` of the next page; null at the end. */
            next?: string | null;
            /** @description Whether the database is unavailable and this is an earlier answer. */
            stale?: boolean;
            /** @description Why it is stale; null if it is not. */
            stale_because?: string | null;
        };
        /** @description A page of a list. */
        Page_User: {
            /**
             * Format: date-time
             * @description For when the answer is. Absent where the header `Wattpost-As-Of` says so alone.
             */
            as_of?: string;
            items: {
                /** Format: date-time */
                created_at: string;
                /**
                 * Format: date-time
                 * @description Since when the user may not sign in; null: the user may.
                 */
                disabled_at?: string | null;
                /** Format: uuid */
                id: string;
                /**
                 * Format: date-time
                 * @description The latest sign-in.
                 */
                last_sign_in_at?: string | null;
                /** @description The name with which the user signs in, in lower case. */
                name: string;
                /**
                 * Format: date-time
                 * @description When the password was set.
                 */
                password_changed_at: string;
                scope: components["schemas"]["Scope"];
            }[];
            /**
             * Format: int64
             * @description By how many milliseconds at most the database was behind what chargers were answered for; null if that is not known.
             */
            lag_ms?: number | null;
            /** @description The `cursor` of the next page; null at the end. */
            next?: string | null;
            /** @description Whether the database is unavailable and this is an earlier answer. */
            stale?: boolean;
            /** @description Why it is stale; null if it is not. */
            stale_because?: string | null;
        };
        /** @description A page of a list. */
        Page_Webhook: {
            /**
             * Format: date-time
             * @description For when the answer is. Absent where the header `Wattpost-As-Of` says so alone.
             */
            as_of?: string;
            items: {
                /** @description Only events of this charger. */
                charger_id?: string | null;
                /** Format: date-time */
                created_at: string;
                /** @description All events up to the one with this id are delivered or not selected. */
                delivered_until: string;
                /** @description The operator's text. */
                description: string;
                /** @description Whether events are sent. */
                enabled: boolean;
                /**
                 * Format: date-time
                 * @description Until when the secret before the newest one is valid; null if there is none.
                 */
                former_secret_until?: string | null;
                /** Format: uuid */
                id: string;
                last_error?: components["schemas"]["WebhookNote"] | null;
                /**
                 * Format: date-time
                 * @description The time of its latest successful attempt.
                 */
                last_success_at?: string | null;
                retry?: components["schemas"]["WebhookRetry"] | null;
                /** @description `active`, `retrying`, `disabled` (by a person) or `switched_off` (by Wattpost). */
                state: string;
                switched_off?: components["schemas"]["WebhookNote"] | null;
                /** @description The types of its events, such as `transaction.*`; empty for all. */
                types: string[];
                /** @description Where its events are sent. */
                url: string;
                /**
                 * Format: int64
                 * @description Events of the log after that one, whether they are selected or not.
                 */
                waiting: number;
            }[];
            /**
             * Format: int64
             * @description By how many milliseconds at most the database was behind what chargers were answered for; null if that is not known.
             */
            lag_ms?: number | null;
            /** @description The `cursor` of the next page; null at the end. */
            next?: string | null;
            /** @description Whether the database is unavailable and this is an earlier answer. */
            stale?: boolean;
            /** @description Why it is stale; null if it is not. */
            stale_because?: string | null;
        };
        /** @description A page of a list. */
        Page_WebhookDelivery: {
            /**
             * Format: date-time
             * @description For when the answer is. Absent where the header `Wattpost-As-Of` says so alone.
             */
            as_of?: string;
            items: {
                /** @description The start of the response, or the error. */
                answer: string;
                /**
                 * Format: date-time
                 * @description When it began.
                 */
                at: string;
                /**
                 * Format: int32
                 * @description Its number among the attempts for this event; the first is 1.
                 */
                attempt: number;
                /** @description Whether the receiver has accepted the event. */
                delivered: boolean;
                /** Format: int64 */
                duration_ms: number;
                event_id: string;
                event_type: string;
                /**
                 * Format: int32
                 * @description The status of the response; null without one.
                 */
                status?: number | null;
            }[];
            /**
             * Format: int64
             * @description By how many milliseconds at most the database was behind what chargers were answered for; null if that is not known.
             */
            lag_ms?: number | null;
            /** @description The `cursor` of the next page; null at the end. */
            next?: string | null;
            /** @description Whether the database is unavailable and this is an earlier answer. */
            stale?: boolean;
            /** @description Why it is stale; null if it is not. */
            stale_because?: string | null;
        };
        /** @description The health of a part of the process. */
        Part: {
            /** @description What is wrong, or a short description. */
            detail: string;
            part: string;
            /** @description Whether the process can do new work, as far as this part is concerned. */
            ready: boolean;
            up: boolean;
        };
        /** @description The newest change of a charger's password. */
        PasswordRotation: {
            by?: components["schemas"]["Actor"] | null;
            charger_id: string;
            /**
             * Format: uuid
             * @description The command that carries the password to the charger; its payload is shown without it. Null if there was no change.
             */
            command_id?: string | null;
            /**
             * Format: date-time
             * @description When it was decided; null while both passwords are accepted.
             */
            ended_at?: string | null;
            /**
             * Format: date-time
             * @description When it was requested.
             */
            started_at?: string | null;
            state: components["schemas"]["RotationState"];
        };
        /** @description Where messages are between chargers and the database. What is not known is null, and `unknown` has the reason. */
        Pipeline: {
            /**
             * Format: date-time
             * @description For when it is made.
             */
            as_of: string;
            balance: components["schemas"]["Balance"];
            /** @description Whether there is RabbitMQ between the journal and the database. */
            has_broker: boolean;
            /**
             * Format: int64
             * @description By how many milliseconds at most the database is behind the messages that were acknowledged to chargers; null if that is
             *     not known.
             */
            lag_ms?: number | null;
            /** @description The parts, in the order in which a message passes them. */
            parts: components["schemas"]["PipelinePart"][];
            /** @description The processes. */
            processes: components["schemas"]["PipelineProcess"][];
            /** @description The positions of each gateway's records. */
            watermarks: components["schemas"]["Watermarks"][];
        };
        /** @description A fault. */
        PipelineError: {
            /**
             * Format: date-time
             * @description When it was seen last.
             */
            at: string;
            /** @description What was wrong. */
            detail: string;
        };
        /** @description A process that does not work, in a part that is made of it. */
        PipelineFault: {
            /** @description What is wrong. */
            detail: string;
            /** @description Whether it does not report; else it reports that it does not work, or it was stopped and left records behind. */
            is_gone: boolean;
            /**
             * Format: uuid
             * @description The `id` of the process.
             */
            process_id: string;
            /** @description Its `name`. */
            process_name: string;
            /**
             * Format: date-time
             * @description Since when; of one that does not report or does not run, when it reported last.
             */
            since: string;
        };
        /** @description A part of the pipeline. */
        PipelinePart: {
            /** @description The state in words. */
            detail: string;
            /**
             * @description Its processes that do not work, those that have not for longest first: why it is `degraded` or `down`. One process
             *     can be in several parts.
             */
            faults: components["schemas"]["PipelineFault"][];
            /**
             * Format: int64
             * @description In how many seconds it is full at the present rate.
             */
            full_in_s?: number | null;
            /**
             * Format: double
             * @description Records that come in per second.
             */
            in_per_s?: number | null;
            last_error?: components["schemas"]["PipelineError"] | null;
            /**
             * Format: int64
             * @description The age of the oldest of them, in seconds.
             */
            oldest_waiting_s?: number | null;
            /**
             * Format: double
             * @description Records that go out per second.
             */
            out_per_s?: number | null;
            /**
             * @description `chargers`, `gateways`, `journal`, `rabbitmq`, `bypass`, `consumers` or `database`. Without RabbitMQ there are
             *     `chargers`, `gateways`, `journal` and `database`.
             */
            part: string;
            /**
             * Format: date-time
             * @description Since when it has this state.
             */
            since?: string | null;
            /**
             * @description `works`; `degraded`: it works, but one of its processes does not; `down`; `idle`: it works and is not in use;
             *     `unknown`: no process reports it.
             */
            state: components["schemas"]["PipelineState"];
            /** @description Why members are null, by their names. */
            unknown: {
                [key: string]: string;
            };
            /** @description The versions of Wattpost of its processes. */
            versions: string[];
            /**
             * Format: int64
             * @description Their bytes.
             */
            waiting_bytes?: number | null;
            /**
             * Format: int64
             * @description Records that wait in it.
             */
            waiting_records?: number | null;
        };
        /** @description A process of Wattpost. */
        PipelineProcess: {
            /** @description The name of its machine. */
            host: string;
            /**
             * Format: uuid
             * @description The gateway's id; a random one for a process without a gateway.
             */
            id: string;
            /**
             * @description Where its gateway listens for chargers, each as `ADDRESS:PORT`; empty without one. A proxy or a container may give
             *     chargers another address.
             */
            listeners: string[];
            /**
             * @description Its name in sentences: role and machine, such as `gateway on depot-1`; with the end of its id where another process has
             *     the same.
             */
            name: string;
            /** @description Its parts at that time. */
            parts: components["schemas"]["ProcessPart"][];
            /**
             * Format: date-time
             * @description When it reported last, by the clock of the process that answers. Until it reports again, this is one value.
             */
            reported_at: string;
            /**
             * Format: int64
             * @description How long ago it reported last, in milliseconds.
             */
            reported_ms_ago: number;
            /** @description What it does. */
            role: components["schemas"]["PipelineRole"];
            /**
             * Format: date-time
             * @description When it started, by its clock.
             */
            started_at: string;
            /** @description `running`; `gone`: it has not reported for 20 seconds; `stopped`: in order; `retired`: by an operator. */
            state: components["schemas"]["ProcessState"];
            /** @description Its version. */
            version: string;
        };
        /**
         * @description What a process does.
         * @enum {string}
         */
        PipelineRole: "serve" | "gateway" | "consumer" | "api";
        /**
         * @description The state of a part.
         * @enum {string}
         */
        PipelineState: "works" | "degraded" | "down" | "idle" | "unknown";
        /** @description An error (RFC 9457). */
        Problem: {
            /** @description For programs; it does not change between versions. */
            code: string;
            /** @description Of `charger_offline`: the address of the command, which is stored as not sent. */
            command?: string | null;
            /** @description A sentence for people. */
            detail: string;
            /** @description The faults of the request. */
            errors: components["schemas"]["Fault"][];
            /** @description The path of the request. */
            instance: string;
            /** @description As in the header `X-Request-Id`. */
            request_id: string;
            /** @description Whether the same request may succeed later. */
            retryable: boolean;
            /** Format: int32 */
            status: number;
            title: string;
            /** @description The address of the description of `code`. */
            type: string;
        };
        /** @description A part of a process. */
        ProcessPart: {
            /** @description What is wrong, or a short description. */
            detail: string;
            /** @description Its name, as in `/health/ready`. */
            part: string;
            /**
             * Format: date-time
             * @description Since when `up` has this value.
             */
            since: string;
            /** @description Whether it works. */
            up: boolean;
        };
        /**
         * @description Whether a process runs.
         * @enum {string}
         */
        ProcessState: "running" | "gone" | "stopped" | "retired";
        /** @description How often one charger needed a tolerance. */
        Quirk: {
            /**
             * Format: int64
             * @description Messages that needed it.
             */
            count: number;
            /** Format: date-time */
            first_at: string;
            /** Format: date-time */
            last_at: string;
            quirk: string;
        };
        /** @description How often chargers of a kind needed a tolerance. */
        QuirkSummary: {
            /**
             * Format: int64
             * @description Chargers that needed it.
             */
            chargers: number;
            /**
             * Format: int64
             * @description Messages that needed it.
             */
            count: number;
            firmware: string;
            /** Format: date-time */
            first_at: string;
            /** Format: date-time */
            last_at: string;
            model: string;
            quirk: string;
            /** @description Empty if the chargers have not reported it; so are `model` and `firmware`. */
            vendor: string;
        };
        /** @description The answer of `/health/ready`. */
        Ready: {
            parts: components["schemas"]["Part"][];
            /** @description Whether the process can do new work. */
            ready: boolean;
        };
        /** @description Handshakes of one identity that were refused for one reason; without an identity, those from one address. */
        RefusedHandshake: {
            /** @description From where the latest one came, without a port; of IPv6 the /64. */
            address: string;
            /** @description The identity as it came; null if the path has none. */
            charger_id?: string | null;
            /**
             * Format: int64
             * @description How many were refused.
             */
            count: number;
            /** @description What an operator can do about it. */
            cure: string;
            /**
             * Format: date-time
             * @description When the first one was refused.
             */
            first_at: string;
            /**
             * Format: uuid
             * @description The gateway that refused it.
             */
            gateway_id: string;
            /**
             * Format: date-time
             * @description When the latest one was refused.
             */
            last_at: string;
            /**
             * Format: int64
             * @description The number of the item; one that was added later has a larger one.
             */
            no: number;
            /** @description The subprotocols that it offered. */
            offered?: string | null;
            /** @description Always `refused`. */
            outcome: string;
            /** @description Its path, without a query. */
            path?: string | null;
            /** @description Why, in the words of the gateway's log; docs/connecting-a-charger.md explains each. */
            reason: string;
            /**
             * Format: int32
             * @description The HTTP status of the answer to the charger. With an identity, 404 is a charger that is not added, 401 one without the
             *     right credentials, and 400, 405, 426 and 431 are malformed requests.
             */
            status: number;
        };
        /**
         * @description Where a register comes from.
         * @enum {string}
         */
        RegisterSource: "start" | "stop" | "transaction_begin" | "transaction_end" | "first_reading" | "last_reading" | "highest_reading" | "session_register";
        /** @description The pages of a report. */
        Report: {
            /**
             * Format: uuid
             * @description The command that asks for the report again, because pages were missing.
             */
            asked_again?: string | null;
            /** @description Whether all were received. */
            complete: boolean;
            /** @description Missing sequence numbers, as inclusive ranges `[from, to]`; 100 at most. */
            missing: number[][];
            /**
             * Format: int64
             * @description How many were received.
             */
            pages: number;
        };
        /** @description Which dead letters are tried again: at most 1,000. */
        RetryDeadLetters: {
            /**
             * Format: int64
             * @description How many match, as a dry run or the list has shown; if it is another number, nothing is changed. A dry run may leave
             *     it out.
             * @example 3
             */
            expected?: number | null;
            filter: components["schemas"]["DeadLetterFilter"];
        };
        /**
         * @description `none`: the password was never changed at the charger. `waiting`: the new password is not sent yet. `sent`, `accepted`,
         *     `uncertain`: it was sent, the charger has accepted it, or it is not known whether the charger has it; the old one and the
         *     new one are accepted. `done`: the charger has logged in with the new one, and the old one is not accepted any more.
         *     `refused`, `not_sent`, `cancelled`: the old one stays. `replaced`: a person set another one, or removed it.
         * @enum {string}
         */
        RotationState: "none" | "waiting" | "sent" | "accepted" | "uncertain" | "done" | "refused" | "not_sent" | "cancelled" | "replaced";
        /** @description One sampled value of a transaction, with OCPP's defaults where the charger wrote nothing. */
        Sample: {
            /**
             * Format: date-time
             * @description The charger's time; when it was received if that is missing or implausible.
             */
            at: string;
            /** Format: int64 */
            connector?: number | null;
            context: string;
            /**
             * Format: int64
             * @description The EVSE (2.x).
             */
            evse?: number | null;
            location: string;
            measurand: string;
            /** @description Null for a value that is not of one phase. */
            phase?: string | null;
            /** @description Whether the charger signed it. */
            signed: boolean;
            /** @description As the charger wrote it; `Wh` for energy without a unit. */
            unit?: string | null;
            /**
             * Format: double
             * @description Times its multiplier (2.x); null if it is no number.
             */
            value?: number | null;
        };
        /**
         * @description What a key permits. Each scope includes those before it.
         * @enum {string}
         */
        Scope: "read" | "operate" | "admin";
        /** @description Who uses the API, and what they may do. */
        Session: {
            /** @description Without a key, while there are neither keys nor users; with a session or a key; or not at all. */
            access: components["schemas"]["Access"];
            /** @description What a change within this session needs in the header `X-CSRF-Token`; null without a session. */
            csrf_token?: string | null;
            /**
             * Format: date-time
             * @description When the session ends; null without one.
             */
            expires_at?: string | null;
            /** @description Whether it is a user, who can set another password. */
            is_user: boolean;
            /** @description The name of the key or of the user; null without one. */
            name?: string | null;
            scope?: components["schemas"]["Scope"] | null;
            /** @description The version of Wattpost. */
            version: string;
        };
        /** @description With what a browser signs in: `key`, or `user` and `password`. */
        SignIn: {
            /** @description An API key of this installation. */
            key?: string | null;
            /** @description The password of the user. */
            password?: string | null;
            /** @description The name of a user. */
            user?: string | null;
        };
        /** @description A time in which nobody is told of some alerts. */
        Silence: {
            /** @description Only those of this charger. */
            charger_id?: string | null;
            comment: string;
            /** Format: date-time */
            created_at: string;
            /** @description The name of the key or the user; null for a request without one. */
            created_by?: string | null;
            /** Format: date-time */
            ends_at: string;
            /** @description Only those with this group. */
            group?: string | null;
            /** Format: uuid */
            id: string;
            /** @description Only alerts of this rule. */
            name?: string | null;
            /** @description Only those of this site and of its chargers. */
            site?: string | null;
            /** Format: date-time */
            starts_at: string;
            /** @description `waiting`, `active` or `ended`. */
            state: string;
            /** @description Only those about this subject; empty: only the one about all together. */
            subject?: string | null;
        };
        /** @description A site: a place with chargers. */
        Site: {
            /** @description Its postal address. */
            address?: string | null;
            /**
             * Format: int64
             * @description How many chargers that were added are there. It is no part of the version that `ETag` names.
             */
            chargers: number;
            /**
             * @description Its id, which never changes.
             * @example depot-7
             */
            id: string;
            /**
             * Format: double
             * @description Degrees north; null if and only if `longitude` is.
             */
            latitude?: number | null;
            /**
             * Format: double
             * @description Degrees east.
             */
            longitude?: number | null;
            name: string;
            /**
             * @description The name of its time zone in the IANA database.
             * @example Europe/Berlin
             */
            time_zone?: string | null;
        };
        /** @description A change of a site: a member that is absent stays as it is, and null removes the value. */
        SitePatch: {
            address?: string | null;
            /** Format: double */
            latitude?: number | null;
            /** Format: double */
            longitude?: number | null;
            name?: string;
            time_zone?: string | null;
        };
        /** @description A dead letter that still cannot be applied. */
        StillDead: {
            /** @description Why. */
            reason: string;
            record_id: string;
        };
        /** @description What somebody who helps needs to know of an installation. */
        SupportBundle: {
            /** @description The processor that it was built for, such as `x86_64`. */
            architecture: string;
            /** @description The commit that it was built from; null if the build was not told. */
            commit?: string | null;
            /** @description As `GET /health` answers. */
            health: components["schemas"]["Health"];
            /** @description The latest warnings and errors of the log of this process, the oldest first, at most 500 lines. */
            log: string[];
            /**
             * Format: date-time
             * @description When it was made.
             */
            made_at: string;
            /** @description As `GET /metrics` answers, up to 1 MiB. */
            metrics: string;
            /** @description Whether there were more metrics. */
            metrics_cut: boolean;
            /** @description The operating system that it was built for, such as `linux`. */
            operating_system: string;
            pipeline?: components["schemas"]["Pipeline"] | null;
            /**
             * Format: int32
             * @description The version of the database's schema that this process needs.
             */
            schema_version: number;
            /** @description All settings of this process, without secrets; null if they are not known. */
            settings?: Record<string, never> | null;
            /** @description The version of Wattpost. */
            version: string;
        };
        /** @description A token of a driver. */
        Token: {
            concurrent_transactions?: components["schemas"]["ConcurrentTransactions"] | null;
            /**
             * Format: date-time
             * @description When it expires.
             */
            expires_at?: string | null;
            /** @description parentIdTag (1.6), groupIdToken (2.x). */
            group?: string | null;
            /**
             * @description idTag (1.6) or idToken (2.x), in the operator's spelling.
             * @example 04A2B3C4D5
             */
            id: string;
            /**
             * Format: date-time
             * @description When the latest stored transaction that it was accepted for began; null if there is none.
             */
            last_used_at?: string | null;
            /**
             * @description The identity of that transaction's charger.
             * @example CP-17
             */
            last_used_by?: string | null;
            /**
             * Format: int64
             * @description The connector (1.6) or EVSE (2.x) there; null if the charger named none.
             */
            last_used_connector?: number | null;
            /** @description A note of the operator, which no charger sees. */
            note?: string | null;
            /** @description The status that the operator has set. An accepted token is answered `Expired` from `expires_at` on. */
            status: components["schemas"]["TokenStatus"];
            /**
             * @description The type of an idToken of 2.x.
             * @example ISO14443
             */
            type?: string | null;
        };
        /** @description The settings of a token. With `PUT` a member that is absent has its default; with `PATCH` it stays as it is. */
        TokenSettings: {
            concurrent_transactions?: components["schemas"]["ConcurrentTransactions"] | null;
            /** Format: date-time */
            expires_at?: string | null;
            /** @description 1 to 255 characters. */
            group?: string | null;
            /** @description The id of the path, in the spelling that is to be shown. */
            id?: string | null;
            /** @description At most 500 characters. */
            note?: string | null;
            status?: components["schemas"]["TokenStatus"] | null;
            /** @description 1 to 20 letters and digits. */
            type?: string | null;
        };
        /**
         * @description The status of a token.
         * @enum {string}
         */
        TokenStatus: "Accepted" | "Blocked" | "Expired" | "Invalid";
        /** @description Where one record is, and when it passed each station. */
        Trace: {
            /**
             * Format: date-time
             * @description For when it is made.
             */
            as_of: string;
            /** @description The same in words. */
            detail: string;
            place: components["schemas"]["TracePlace"];
            /** @description `GATEWAY/NUMBER` */
            record_id: string;
            /** @description The stations in their order. */
            stations: components["schemas"]["TraceStation"][];
        };
        /**
         * @description Whether a record has passed a station; `never`: it is a dead letter.
         * @enum {string}
         */
        TracePassed: "yes" | "not_yet" | "never" | "unknown";
        /**
         * @description Where a record is: not written by its gateway; only in its journal; delivered and not in the database; in the database;
         *     in the database as a dead letter; deleted from the database after it was stored; not known.
         * @enum {string}
         */
        TracePlace: "not_written" | "journal" | "rabbitmq" | "stored" | "dead_letter" | "deleted" | "unknown";
        /** @description A station on the way of a record. */
        TraceStation: {
            /**
             * Format: date-time
             * @description When, exactly.
             */
            at?: string | null;
            /**
             * Format: date-time
             * @description When, at the latest.
             */
            not_after?: string | null;
            /**
             * Format: date-time
             * @description When, at the earliest.
             */
            not_before?: string | null;
            passed: components["schemas"]["TracePassed"];
            /**
             * @description `received`, `durable` (in the journal), `delivered` (confirmed by RabbitMQ, or stored directly), `stored`,
             *     `projected` (in the same database transaction) or, instead of these two, `dead_letter`.
             */
            station: string;
            /** @description Why the time is not known, or not exactly. */
            unknown?: string | null;
        };
        /** @description A charging transaction. */
        Transaction: {
            charger_id: string;
            /** @description chargingState (2.x). */
            charging_state?: string | null;
            /** @description What is doubtful about the energy. */
            checks: components["schemas"]["Check"][];
            closed?: components["schemas"]["Closed"] | null;
            /**
             * Format: int64
             * @description Further stops with the same id and other content.
             */
            conflicting_stops: number;
            /** Format: int64 */
            connector?: number | null;
            /**
             * Format: date-time
             * @description When it ended according to its stop; null if none has arrived.
             */
            ended_at?: string | null;
            energy_confidence?: components["schemas"]["Confidence"] | null;
            energy_from?: components["schemas"]["RegisterSource"] | null;
            energy_to?: components["schemas"]["RegisterSource"] | null;
            /**
             * Format: double
             * @description What was charged so far, in watt-hours; never negative.
             */
            energy_wh?: number | null;
            /**
             * Format: int64
             * @description The EVSE (2.x).
             */
            evse?: number | null;
            /** @description The token. */
            id_token?: string | null;
            /**
             * Format: uuid
             * @description Identifies it permanently; provisional while `started_at` is null.
             */
            key: string;
            /**
             * Format: date-time
             * @description The latest time in any of its messages.
             */
            last_at?: string | null;
            /** @description Addresses of what belongs to it. */
            links: components["schemas"]["Links"];
            /**
             * Format: double
             * @description Meter reading at the start, in watt-hours.
             */
            meter_start_wh?: number | null;
            /**
             * Format: double
             * @description Meter reading at the end, in watt-hours.
             */
            meter_stop_wh?: number | null;
            /** @description Missing sequence numbers, as inclusive ranges (2.x). */
            missing_seq: number[][];
            ocpp_version?: components["schemas"]["OcppVersion"] | null;
            /** @description Whether any message was queued by the charger while offline (2.x). */
            offline: boolean;
            /** @description Whether it runs: no stop has arrived, and it was not closed. */
            open: boolean;
            /**
             * Format: double
             * @description The last power, in watts.
             */
            power_w?: number | null;
            /**
             * Format: int64
             * @description The id of the remote start that started it (2.x).
             */
            remote_start_id?: number | null;
            /**
             * Format: int64
             * @description The reservation that it uses.
             */
            reservation_id?: number | null;
            /**
             * Format: double
             * @description The last state of charge, in percent.
             */
            soc_percent?: number | null;
            /**
             * Format: date-time
             * @description Null if its start has not arrived.
             */
            started_at?: string | null;
            /** @description Why it ended. */
            stop_reason?: string | null;
            /** @description The token's type (2.x). */
            token_type?: string | null;
            /** @description The id in the charger's messages, which the charger may use again. */
            transaction_id: string;
            /** @description The token's status in the answer. */
            verdict?: string | null;
        };
        /**
         * @description Why a status is not known.
         * @enum {string}
         */
        UnknownReason: "offline" | "not_reported_since_connect" | "gateway_unreachable";
        /** @description A token that a charger presented and that was not added, at one charger. */
        UnknownToken: {
            /**
             * @description The status that the latest message was answered, such as `Invalid`; `Accepted` by the policy for unknown tokens.
             * @example Invalid
             */
            answer: string;
            /** @example CP-17 */
            charger_id: string;
            /**
             * Format: int64
             * @description The connector (1.6) or EVSE (2.x) of the latest message; null if it names none.
             */
            connector?: number | null;
            /**
             * Format: int64
             * @description Messages that presented it at the charger on the days that are kept.
             */
            count: number;
            /**
             * Format: date-time
             * @description When it was first presented at the charger, of the days that are kept.
             */
            first_at: string;
            /**
             * @description idTag (1.6) or idToken (2.x), in the charger's latest spelling.
             * @example 04A2B3C4D5
             */
            id: string;
            /**
             * Format: uuid
             * @description Names the token, the same at all chargers, in `DELETE /api/v1/unknown-tokens/{key}`.
             */
            key: string;
            /**
             * Format: date-time
             * @description When it was last presented at the charger.
             */
            last_at: string;
            /**
             * @description The type of an idToken of 2.x.
             * @example ISO14443
             */
            type?: string | null;
        };
        /** @description For how much of a time a charger was connected. `up_ms`, `down_ms`, `unknown_ms` and `excluded_ms` add up to the range. */
        Uptime: {
            charger_id: string;
            /**
             * Format: int64
             * @description Connections in the range.
             */
            connections: number;
            /**
             * Format: int64
             * @description Milliseconds in which it was not connected, and could have been.
             */
            down_ms: number;
            /**
             * Format: int64
             * @description Milliseconds that were excluded.
             */
            excluded_ms: number;
            /** @description How it is computed, in words. */
            formula: string;
            /** Format: date-time */
            from: string;
            /** @description The newest 1,000 times in which it is not known to have been connected, the newest first. */
            gaps: components["schemas"]["UptimeGap"][];
            /**
             * Format: int64
             * @description Earlier ones.
             */
            gaps_omitted: number;
            /** Format: date-time */
            to: string;
            /**
             * Format: int64
             * @description Milliseconds of which it is not known, or in which the central system was the cause.
             */
            unknown_ms: number;
            /**
             * Format: int64
             * @description Milliseconds in which it was connected.
             */
            up_ms: number;
            /**
             * Format: double
             * @description 100 * `up_ms` / (`up_ms` + `down_ms`); null if both are 0.
             */
            uptime_percent?: number | null;
        };
        /** @description A time in which a charger is not known to have been connected. */
        UptimeGap: {
            /** Format: int64 */
            duration_ms: number;
            /** Format: date-time */
            from: string;
            kind: components["schemas"]["UptimeGapKind"];
            /** Format: date-time */
            to: string;
        };
        /**
         * @description `down`: the charger was not connected, and could have been. `unknown`: it is not known, or the central system was the
         *     cause.
         * @enum {string}
         */
        UptimeGapKind: "down" | "unknown";
        /** @description A local user of the dashboard, without the password. */
        User: {
            /** Format: date-time */
            created_at: string;
            /**
             * Format: date-time
             * @description Since when the user may not sign in; null: the user may.
             */
            disabled_at?: string | null;
            /** Format: uuid */
            id: string;
            /**
             * Format: date-time
             * @description The latest sign-in.
             */
            last_sign_in_at?: string | null;
            /** @description The name with which the user signs in, in lower case. */
            name: string;
            /**
             * Format: date-time
             * @description When the password was set.
             */
            password_changed_at: string;
            scope: components["schemas"]["Scope"];
        };
        /** @description What changes of a user; a member that is absent stays as it is. */
        UserPatch: {
            /** @description Whether the user may not sign in. The sessions of a disabled user end. */
            disabled?: boolean | null;
            /** @description A new password. The sessions of the user end. */
            password?: string | null;
            scope?: components["schemas"]["Scope"] | null;
        };
        /** @description What a process was built from. */
        Version: {
            /** @description The commit that it was built from, 40 hexadecimal digits; null if the build was not told. */
            commit?: string | null;
            /**
             * Format: int32
             * @description The version of the database's schema that this process needs. `wattpost migrate` brings the database to it.
             */
            schema_version: number;
            /** @description The version of Wattpost. */
            version: string;
        };
        /** @description The positions of one gateway's records, as sequence numbers. */
        Watermarks: {
            /**
             * Format: int64
             * @description Confirmed by RabbitMQ, or stored directly.
             */
            confirmed: number;
            /**
             * Format: int64
             * @description Durable in the journal: acknowledged to chargers.
             */
            durable: number;
            /** Format: uuid */
            gateway_id: string;
            /** @description Whether the gateway runs. */
            state: components["schemas"]["ProcessState"];
            /**
             * Format: int64
             * @description Every record up to here is stored in the database.
             */
            stored?: number | null;
            /**
             * Format: int64
             * @description Records in its journal that are not delivered.
             */
            undelivered: number;
            /** @description Why `stored` is null. */
            unknown: {
                [key: string]: string;
            };
            /**
             * Format: int64
             * @description Written to the journal's file.
             */
            written: number;
        };
        /** @description A webhook without its secrets. */
        Webhook: {
            /** @description Only events of this charger. */
            charger_id?: string | null;
            /** Format: date-time */
            created_at: string;
            /** @description All events up to the one with this id are delivered or not selected. */
            delivered_until: string;
            /** @description The operator's text. */
            description: string;
            /** @description Whether events are sent. */
            enabled: boolean;
            /**
             * Format: date-time
             * @description Until when the secret before the newest one is valid; null if there is none.
             */
            former_secret_until?: string | null;
            /** Format: uuid */
            id: string;
            last_error?: components["schemas"]["WebhookNote"] | null;
            /**
             * Format: date-time
             * @description The time of its latest successful attempt.
             */
            last_success_at?: string | null;
            retry?: components["schemas"]["WebhookRetry"] | null;
            /** @description `active`, `retrying`, `disabled` (by a person) or `switched_off` (by Wattpost). */
            state: string;
            switched_off?: components["schemas"]["WebhookNote"] | null;
            /** @description The types of its events, such as `transaction.*`; empty for all. */
            types: string[];
            /** @description Where its events are sent. */
            url: string;
            /**
             * Format: int64
             * @description Events of the log after that one, whether they are selected or not.
             */
            waiting: number;
        };
        /** @description An attempt to deliver an event. */
        WebhookDelivery: {
            /** @description The start of the response, or the error. */
            answer: string;
            /**
             * Format: date-time
             * @description When it began.
             */
            at: string;
            /**
             * Format: int32
             * @description Its number among the attempts for this event; the first is 1.
             */
            attempt: number;
            /** @description Whether the receiver has accepted the event. */
            delivered: boolean;
            /** Format: int64 */
            duration_ms: number;
            event_id: string;
            event_type: string;
            /**
             * Format: int32
             * @description The status of the response; null without one.
             */
            status?: number | null;
        };
        /** @description A text and when it was noted. */
        WebhookNote: {
            /** Format: date-time */
            at: string;
            text: string;
        };
        /** @description What is changed of a webhook: an absent member stays as it is, null sets the default. */
        WebhookPatch: {
            charger_id?: string | null;
            description?: string | null;
            enabled?: boolean | null;
            types?: string[] | null;
            url?: string | null;
        };
        /** @description Where events are sent again from. */
        WebhookRedelivery: {
            /** @description The id of the first event, or a time: the first event that was recorded then or later. */
            since: string;
        };
        /** @description Failed attempts. */
        WebhookRetry: {
            /**
             * Format: int32
             * @description Attempts that have failed.
             */
            attempts: number;
            /** @description The event. */
            event_id: string;
            /**
             * Format: date-time
             * @description When the next one is made.
             */
            next_at: string;
            /**
             * Format: date-time
             * @description When the first one was made. It is moved if the clock was set since, or no attempt was made at its time, because Wattpost was down.
             */
            since: string;
        };
        /** @description A new secret. */
        WebhookRotation: {
            /**
             * Format: int32
             * @description For how many seconds the former secret stays valid: 0 to 2,592,000; default 86,400.
             */
            former_valid_s?: number | null;
            /** @description As of a new webhook. */
            secret?: string | null;
        };
        /** @description What came of a test message. */
        WebhookTested: {
            /** @description The first bytes of the answer. */
            answer: string;
            /** @description Whether the status is 2xx. */
            delivered: boolean;
            /** Format: int64 */
            duration_ms: number;
            /** @description Why there is no answer. */
            error?: string | null;
            /**
             * Format: int32
             * @description The status; null without an answer.
             */
            status?: number | null;
        };
        /** @description A webhook with its newest secret. */
        WebhookWithSecret: components["schemas"]["Webhook"] & {
            /** @description It is shown only in this answer; null in the answer to a repeat. */
            secret?: string | null;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export type operations = Record<string, never>;
