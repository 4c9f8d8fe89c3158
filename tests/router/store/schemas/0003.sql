BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0003');
CREATE TABLE decisions (
	id TEXT NOT NULL, 
	completion_id TEXT, 
	prompt_id INTEGER NOT NULL, 
	key_id INTEGER, 
	created_at DOUBLE NOT NULL, 
	beta DOUBLE NOT NULL, 
	chosen TEXT NOT NULL, 
	target TEXT, 
	reason TEXT NOT NULL, 
	propensity DOUBLE NOT NULL, 
	candidates JSON NOT NULL, 
	status INTEGER NOT NULL, 
	stream BOOLEAN NOT NULL, 
	input_tokens INTEGER, 
	output_tokens INTEGER, 
	cached_tokens INTEGER, 
	usage_estimated BOOLEAN NOT NULL, 
	cost_usd DOUBLE, 
	latency_ms DOUBLE, 
	first_byte_ms DOUBLE, cache_write_tokens INTEGER, reasoning_tokens INTEGER, audio_input_tokens INTEGER, audio_output_tokens INTEGER, 
	CONSTRAINT pk_decisions PRIMARY KEY (id), 
	CONSTRAINT fk_decisions_key_id FOREIGN KEY(key_id) REFERENCES keys (id), 
	CONSTRAINT fk_decisions_prompt_id FOREIGN KEY(prompt_id) REFERENCES prompts (id)
);
INSERT INTO "decisions" VALUES('dec_1','chatcmpl-dec_1',1,NULL,1000.5,0.7,'small','replay/small','best value for its cost',0.9,'[{"model": "small", "value": 0.8, "cost": 0.001, "score": 0.85, "excluded": null}, {"model": "large", "value": null, "cost": null, "score": null, "excluded": "no vision"}]',200,1,12,34,5,1,0.002,120.5,20.25,NULL,NULL,NULL,NULL);
INSERT INTO "decisions" VALUES('dec_3','chatcmpl-dec_3',1,1,1000.5,0.7,'small','replay/small','best value for its cost',0.9,'[{"model": "small", "value": 0.8, "cost": 0.001, "score": 0.85, "excluded": null}, {"model": "large", "value": null, "cost": null, "score": null, "excluded": "no vision"}]',200,1,12,34,5,1,0.5,120.5,20.25,NULL,7,NULL,NULL);
CREATE TABLE keys (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	hash VARCHAR(64) NOT NULL, 
	created_at DOUBLE NOT NULL, 
	revoked_at DOUBLE, admin BOOLEAN DEFAULT 0 NOT NULL, limits JSON DEFAULT '{}' NOT NULL, hint TEXT DEFAULT '' NOT NULL, changed_at DOUBLE DEFAULT '0' NOT NULL, 
	CONSTRAINT pk_keys PRIMARY KEY (id), 
	CONSTRAINT uq_keys_hash UNIQUE (hash)
);
INSERT INTO "keys" VALUES(1,'ci','8a6b3cdb0c55f846b70aabc01bcaead87967f4b5efe118de13e93f4b95a04ade',1.79524438825012755396e+09,NULL,0,'{"month_usd": 5.0, "models": ["gpt-*"], "pace": true}','',1.79527866987591314313e+09);
CREATE TABLE models (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	created_at DOUBLE NOT NULL, 
	CONSTRAINT pk_models PRIMARY KEY (id), 
	CONSTRAINT uq_models_name UNIQUE (name)
);
INSERT INTO "models" VALUES(1,'small',1.79524438824800062182e+09);
CREATE TABLE outcomes (
	id INTEGER NOT NULL, 
	revision INTEGER NOT NULL, 
	decision_id TEXT, 
	prompt_id INTEGER NOT NULL, 
	model_id INTEGER NOT NULL, 
	score DOUBLE NOT NULL, 
	source VARCHAR(20) NOT NULL, 
	comment TEXT, 
	cost_usd DOUBLE, 
	input_tokens INTEGER, 
	output_tokens INTEGER, 
	latency_ms DOUBLE, 
	created_at DOUBLE NOT NULL, 
	CONSTRAINT pk_outcomes PRIMARY KEY (id), 
	CONSTRAINT ck_outcomes_score_in_unit_interval CHECK (score >= 0 AND score <= 1), 
	CONSTRAINT fk_outcomes_decision_id FOREIGN KEY(decision_id) REFERENCES decisions (id), 
	CONSTRAINT fk_outcomes_model_id FOREIGN KEY(model_id) REFERENCES models (id), 
	CONSTRAINT fk_outcomes_prompt_id FOREIGN KEY(prompt_id) REFERENCES prompts (id), 
	CONSTRAINT uq_outcomes_decision_id_source UNIQUE (decision_id, source), 
	CONSTRAINT uq_outcomes_revision UNIQUE (revision)
);
INSERT INTO "outcomes" VALUES(1,1,'dec_1',1,1,1.0,'feedback','thanks',0.002,12,34,120.5,2000.0);
CREATE TABLE policies (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	revision VARCHAR(16) NOT NULL, 
	created_at DOUBLE NOT NULL, 
	updated_at DOUBLE NOT NULL, 
	CONSTRAINT pk_policies PRIMARY KEY (id), 
	CONSTRAINT uq_policies_name UNIQUE (name)
);
INSERT INTO "policies" VALUES(1,'run','d30a454c975f4213',1.79527141442550778388e+09,1.79527141442550778388e+09);
CREATE TABLE prompts (
	id INTEGER NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	version TEXT NOT NULL, 
	embedding BLOB, 
	text TEXT, 
	tokens INTEGER NOT NULL, 
	CONSTRAINT pk_prompts PRIMARY KEY (id), 
	CONSTRAINT uq_prompts_digest_version UNIQUE (digest, version)
);
INSERT INTO "prompts" VALUES(1,'38d46ad3618826cf660df542bcf13a3b92b61df92854e2723efcba659af53f4b','fake-1',X'7B307B307B307B307B307B307B307B30','What is 2 + 2?',14);
CREATE TABLE revisions (
	id INTEGER NOT NULL, 
	last INTEGER NOT NULL, 
	CONSTRAINT pk_revisions PRIMARY KEY (id), 
	CONSTRAINT ck_revisions_single_row CHECK (id = 1)
);
INSERT INTO "revisions" VALUES(1,1);
CREATE TABLE spending (
	key_id INTEGER NOT NULL, 
	day INTEGER NOT NULL, 
	process VARCHAR(32) NOT NULL, 
	requests INTEGER NOT NULL, 
	input_tokens INTEGER NOT NULL, 
	output_tokens INTEGER NOT NULL, 
	cost_usd DOUBLE NOT NULL, 
	CONSTRAINT pk_spending PRIMARY KEY (key_id, day, process), 
	CONSTRAINT fk_spending_key_id FOREIGN KEY(key_id) REFERENCES keys (id)
);
INSERT INTO "spending" VALUES(1,0,'p1',1,12,34,0.5);
CREATE TABLE support (
	id INTEGER NOT NULL, 
	policy_id INTEGER NOT NULL, 
	version TEXT NOT NULL, 
	embedding BLOB NOT NULL, 
	text TEXT, 
	reward DOUBLE NOT NULL, 
	step INTEGER NOT NULL, 
	CONSTRAINT pk_support PRIMARY KEY (id), 
	CONSTRAINT ck_support_reward_in_unit_interval CHECK (reward >= 0 AND reward <= 1), 
	CONSTRAINT fk_support_policy_id FOREIGN KEY(policy_id) REFERENCES policies (id)
);
INSERT INTO "support" VALUES(1,1,'v1',X'003C0038','What is 2 + 2?',1.0,2);
INSERT INTO "support" VALUES(2,1,'v1',X'0000003C',NULL,0.0,3);
CREATE UNIQUE INDEX uq_keys_name_living ON keys (name) WHERE revoked_at IS NULL;
CREATE INDEX ix_decisions_completion_id ON decisions (completion_id);
CREATE INDEX ix_decisions_created_at ON decisions (created_at);
CREATE INDEX ix_outcomes_model_id_id ON outcomes (model_id, id);
CREATE INDEX ix_support_policy_id_step_id ON support (policy_id, step, id);
COMMIT;
