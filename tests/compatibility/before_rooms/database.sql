BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('r0004');
CREATE TABLE "alias_changes" (
	id INTEGER NOT NULL, 
	tenant VARCHAR(64) NOT NULL, 
	alias VARCHAR(128) NOT NULL, 
	bundle_id VARCHAR(64) NOT NULL, 
	set_at DATETIME NOT NULL, 
	withdrawn_at DATETIME, 
	set_by VARCHAR(256), 
	reason TEXT, 
	forced BOOLEAN DEFAULT 0 NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "alias_changes" VALUES(1,'default','champion','fa14b11f583828d3','2026-11-29 20:55:39.043897',NULL,NULL,NULL,0);
INSERT INTO "alias_changes" VALUES(2,'default','champion','35ea069b10e1b3ec','2026-11-29 20:55:39.228917',NULL,'root','fixture | ndcg@10: 0.1727 → 0.1727, +0.0% [+0.0%, +0.0%] over 40 users and 1 seed(s), p = 1: not significant.',0);
INSERT INTO "alias_changes" VALUES(3,'default','challenger','fa14b11f583828d3','2026-11-29 20:55:39.263027',NULL,'root','fixture | challenger points to no other bundle, so there is nothing to be worse than.',0);
CREATE TABLE aliases (
	tenant VARCHAR(64) NOT NULL, 
	alias VARCHAR(128) NOT NULL, 
	bundle_id VARCHAR(64) NOT NULL, 
	set_at DATETIME NOT NULL, 
	PRIMARY KEY (tenant, alias)
);
INSERT INTO "aliases" VALUES('default','champion','35ea069b10e1b3ec','2026-11-29 20:55:39.228968');
INSERT INTO "aliases" VALUES('default','challenger','fa14b11f583828d3','2026-11-29 20:55:39.263068');
CREATE TABLE bundles (
	id INTEGER NOT NULL, 
	tenant VARCHAR(64) NOT NULL, 
	name VARCHAR(128) NOT NULL, 
	version INTEGER NOT NULL, 
	bundle_id VARCHAR(64) NOT NULL, 
	uri TEXT NOT NULL, 
	metrics JSON NOT NULL, 
	created_at DATETIME NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT uq_bundles_id UNIQUE (tenant, bundle_id), 
	CONSTRAINT uq_bundles_version UNIQUE (tenant, name, version)
);
INSERT INTO "bundles" VALUES(1,'default','tiny (plain)',1,'fa14b11f583828d3','/srv/retort/home/bundles/fa14b11f583828d3','{"protocol": "refit", "seen_hidden": true, "cases": 40, "cold_targets": 0, "test": {"hr@10": 0.425, "ndcg@10": 0.1727378157052192, "mrr@10": 0.09839285714285714, "hr@5": 0.2, "ndcg@5": 0.0999102961690664, "mrr@5": 0.06833333333333333, "hr@20": 0.875, "ndcg@20": 0.28538212084778547, "mrr@20": 0.12866389018188554, "coverage@10": 1.0, "coverage@5": 1.0, "coverage@20": 1.0}, "slices": {"history \u2264 5": {"cases": 9.0, "hr@10": 0.4444444444444444, "ndcg@10": 0.15791634157541443, "mrr@10": 0.07451499118165786, "hr@5": 0.1111111111111111, "ndcg@5": 0.047852950897043674, "mrr@5": 0.027777777777777776, "hr@20": 0.6666666666666666, "ndcg@20": 0.21553940378063763, "mrr@20": 0.09099850766517432}, "history 6\u201310": {"cases": 17.0, "hr@10": 0.29411764705882354, "ndcg@10": 0.1566107712829863, "mrr@10": 0.11437908496732026, "hr@5": 0.23529411764705882, "ndcg@5": 0.1389031244792227, "mrr@5": 0.10784313725490195, "hr@20": 0.8823529411764706, "ndcg@20": 0.30248599455907177, "mrr@20": 0.15293300863324538}, "history 11\u201330": {"cases": 14.0, "hr@10": 0.5714285714285714, "ndcg@10": 0.20184874587280505, "mrr@10": 0.09433106575963716, "hr@5": 0.21428571428571427, "ndcg@5": 0.08602729803874831, "mrr@5": 0.04642857142857143, "hr@20": 1.0, "ndcg@20": 0.3095120208843899, "mrr@20": 0.12340770653740576}, "history 31\u2013100": {"cases": 0.0}, "history > 100": {"cases": 0.0}, "popularity \u2264 3": {"cases": 0.0}, "popularity 4\u201310": {"cases": 22.0, "hr@10": 0.3181818181818182, "ndcg@10": 0.11167718597874243, "mrr@10": 0.05174963924963924, "hr@5": 0.09090909090909091, "ndcg@5": 0.037160425695815215, "mrr@5": 0.020454545454545454, "hr@20": 0.8181818181818182, "ndcg@20": 0.23725523918505392, "mrr@20": 0.08568899066190087}, "popularity 11\u201330": {"cases": 18.0, "hr@10": 0.5555555555555556, "ndcg@10": 0.2473674742598019, "mrr@10": 0.15540123456790125, "hr@5": 0.3333333333333333, "ndcg@5": 0.17660458230304005, "mrr@5": 0.12685185185185185, "hr@20": 0.9444444444444444, "ndcg@20": 0.34420386510223505, "mrr@20": 0.1811887673729779}, "popularity 31\u2013100": {"cases": 0.0}, "popularity > 100": {"cases": 0.0}}, "validation": {"hr@10": 0.475, "ndcg@10": 0.2067410986734708, "mrr@10": 0.1271031746031746, "hr@5": 0.25, "ndcg@5": 0.13646311373509085, "mrr@5": 0.09958333333333333, "hr@20": 0.925, "ndcg@20": 0.32075310208339297, "mrr@20": 0.15848402103142814}, "baselines": {"popularity": {"hr@10": 0.425, "ndcg@10": 0.23654329243190517, "mrr@10": 0.17968253968253967, "hr@5": 0.275, "ndcg@5": 0.1871006060122848, "mrr@5": 0.15875, "hr@20": 0.95, "ndcg@20": 0.3664359912086983, "mrr@20": 0.21374458251586734, "coverage@10": 0.8, "coverage@5": 0.5666666666666667, "coverage@20": 1.0}}}','2026-11-29 20:55:39.030243');
INSERT INTO "bundles" VALUES(2,'default','tiny',1,'35ea069b10e1b3ec','/srv/retort/home/bundles/35ea069b10e1b3ec','{"protocol": "refit", "seen_hidden": true, "cases": 40, "cold_targets": 0, "test": {"hr@10": 0.425, "ndcg@10": 0.1727378157052192, "mrr@10": 0.09839285714285714, "hr@5": 0.2, "ndcg@5": 0.0999102961690664, "mrr@5": 0.06833333333333333, "hr@20": 0.875, "ndcg@20": 0.28538212084778547, "mrr@20": 0.12866389018188554, "coverage@10": 1.0, "coverage@5": 1.0, "coverage@20": 1.0}, "slices": {"history \u2264 5": {"cases": 9.0, "hr@10": 0.4444444444444444, "ndcg@10": 0.15791634157541443, "mrr@10": 0.07451499118165786, "hr@5": 0.1111111111111111, "ndcg@5": 0.047852950897043674, "mrr@5": 0.027777777777777776, "hr@20": 0.6666666666666666, "ndcg@20": 0.21553940378063763, "mrr@20": 0.09099850766517432}, "history 6\u201310": {"cases": 17.0, "hr@10": 0.29411764705882354, "ndcg@10": 0.1566107712829863, "mrr@10": 0.11437908496732026, "hr@5": 0.23529411764705882, "ndcg@5": 0.1389031244792227, "mrr@5": 0.10784313725490195, "hr@20": 0.8823529411764706, "ndcg@20": 0.30248599455907177, "mrr@20": 0.15293300863324538}, "history 11\u201330": {"cases": 14.0, "hr@10": 0.5714285714285714, "ndcg@10": 0.20184874587280505, "mrr@10": 0.09433106575963716, "hr@5": 0.21428571428571427, "ndcg@5": 0.08602729803874831, "mrr@5": 0.04642857142857143, "hr@20": 1.0, "ndcg@20": 0.3095120208843899, "mrr@20": 0.12340770653740576}, "history 31\u2013100": {"cases": 0.0}, "history > 100": {"cases": 0.0}, "popularity \u2264 3": {"cases": 0.0}, "popularity 4\u201310": {"cases": 22.0, "hr@10": 0.3181818181818182, "ndcg@10": 0.11167718597874243, "mrr@10": 0.05174963924963924, "hr@5": 0.09090909090909091, "ndcg@5": 0.037160425695815215, "mrr@5": 0.020454545454545454, "hr@20": 0.8181818181818182, "ndcg@20": 0.23725523918505392, "mrr@20": 0.08568899066190087}, "popularity 11\u201330": {"cases": 18.0, "hr@10": 0.5555555555555556, "ndcg@10": 0.2473674742598019, "mrr@10": 0.15540123456790125, "hr@5": 0.3333333333333333, "ndcg@5": 0.17660458230304005, "mrr@5": 0.12685185185185185, "hr@20": 0.9444444444444444, "ndcg@20": 0.34420386510223505, "mrr@20": 0.1811887673729779}, "popularity 31\u2013100": {"cases": 0.0}, "popularity > 100": {"cases": 0.0}}, "validation": {"hr@10": 0.475, "ndcg@10": 0.20833150277589532, "mrr@10": 0.12874007936507936, "hr@5": 0.25, "ndcg@5": 0.13646311373509085, "mrr@5": 0.09958333333333333, "hr@20": 0.925, "ndcg@20": 0.3223435061858176, "mrr@20": 0.1601209257933329}, "baselines": {"popularity": {"hr@10": 0.425, "ndcg@10": 0.23654329243190517, "mrr@10": 0.17968253968253967, "hr@5": 0.275, "ndcg@5": 0.1871006060122848, "mrr@5": 0.15875, "hr@20": 0.95, "ndcg@20": 0.3664359912086983, "mrr@20": 0.21374458251586734, "coverage@10": 0.8, "coverage@5": 0.5666666666666667, "coverage@20": 1.0}}}','2026-11-29 20:55:39.129581');
CREATE TABLE events (
	id INTEGER NOT NULL, 
	tenant VARCHAR(64) NOT NULL, 
	event_key VARCHAR(32) NOT NULL, 
	event_id VARCHAR(288) NOT NULL, 
	user_id VARCHAR(256), 
	session_id VARCHAR(256), 
	item_id VARCHAR(256) NOT NULL, 
	event_type VARCHAR(128) NOT NULL, 
	weight DOUBLE NOT NULL, 
	value DOUBLE, 
	time_ms BIGINT NOT NULL, 
	accepted_ms BIGINT NOT NULL, 
	request_id VARCHAR(256), 
	impressions JSON NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT uq_events_key UNIQUE (tenant, event_key)
);
INSERT INTO "events" VALUES(1,'default','b63bd60222c5bd18fe7fe445d09d97f9','i20@1700000100000','u0000001',NULL,'i20','click',1.0,NULL,1700000100000,1795985739550,NULL,'[]');
INSERT INTO "events" VALUES(3,'default','da04652730b00753675c60570dcadd4d','i23@1700000100002',NULL,'guest','i23','click',1.0,NULL,1700000100002,1795985739558,NULL,'[]');
INSERT INTO "events" VALUES(4,'default','37540ed67c53090844485b76ca737eef','i25@1700000100003',NULL,'visitor','i25','click',1.0,NULL,1700000100003,1795985739560,NULL,'[]');
CREATE TABLE exposures (
	id INTEGER NOT NULL, 
	tenant VARCHAR(64) NOT NULL, 
	exposure_key VARCHAR(32) NOT NULL, 
	request_id VARCHAR(256) NOT NULL, 
	user_id VARCHAR(256), 
	session_id VARCHAR(256), 
	source VARCHAR(128) NOT NULL, 
	reason VARCHAR(128), 
	model VARCHAR(128), 
	version VARCHAR(64), 
	experiment VARCHAR(128), 
	variant VARCHAR(128), 
	first_rank INTEGER NOT NULL, 
	item_ids JSON NOT NULL, 
	shown_ms BIGINT NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT uq_exposures_key UNIQUE (tenant, exposure_key)
);
INSERT INTO "exposures" VALUES(1,'default','51e13f2d0133cd2c6a4e2fbbf3dd0524','edb2c5293e8aec96',NULL,'visitor','session','unknown_user','tiny','35ea069b10e1b3ec',NULL,NULL,1,'["i24", "i04", "i03"]',1795985739563);
INSERT INTO "exposures" VALUES(2,'default','a15b237066ee669c60f079e8b930fe21','ec866ac0683a765a','u0000001',NULL,'student',NULL,'tiny','35ea069b10e1b3ec',NULL,NULL,1,'["i29", "i02", "i27"]',1795985739565);
CREATE TABLE profile_choices (
	tenant VARCHAR(64) NOT NULL, 
	user_id VARCHAR(256) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	text TEXT, 
	set_at DATETIME NOT NULL, 
	set_by VARCHAR(256), 
	PRIMARY KEY (tenant, user_id)
);
INSERT INTO "profile_choices" VALUES('default','user-0','edited','I like quiet films.','2026-11-29 20:55:39.353994','user-0');
INSERT INTO "profile_choices" VALUES('default','user-1','pinned','A person of whom 4 choices are known, and who is drawn most of all to 1970s, Action.
Period: 1970s (75%), 1980s (25%). Genres: Action (50%), Children''s (50%), Comedy (50%), Drama (50%).
Words that return in what was chosen: dog, film, number, return, story.
Year is mostly around 1977.5, from 1973 to 1982.
Rated above this person''s average: Comedy.
Rated below this person''s average: Action, 1970s.
Follows series: Film. Stays close to 1970s.','2026-11-29 20:55:39.361863','support');
INSERT INTO "profile_choices" VALUES('default','user-2','erased',NULL,'2026-11-29 20:55:39.363335','user-2');
INSERT INTO "profile_choices" VALUES('default','u0000004','erased',NULL,'2026-11-29 20:55:39.697147',NULL);
CREATE TABLE "profiles" (
	id INTEGER NOT NULL, 
	tenant VARCHAR(64) NOT NULL, 
	user_id VARCHAR(256) NOT NULL, 
	aspect VARCHAR(128) NOT NULL, 
	history_hash VARCHAR(64) NOT NULL, 
	prompt_version VARCHAR(128) NOT NULL, 
	model VARCHAR(256) NOT NULL, 
	parameters JSON NOT NULL, 
	text TEXT, 
	prompt_tokens INTEGER, 
	completion_tokens INTEGER, 
	created_at DATETIME NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	error TEXT, 
	parameters_hash VARCHAR(64) NOT NULL, 
	n_events INTEGER, 
	cost_usd DOUBLE, 
	grounding DOUBLE, 
	PRIMARY KEY (id), 
	CONSTRAINT uq_profiles_question UNIQUE (tenant, user_id, aspect, history_hash, prompt_version, model, parameters_hash)
);
INSERT INTO "profiles" VALUES(1,'default','u0000000','whole','55ea76199e0d382e717e475144f9eb930619ae40fe6daf40c493252088c6ac4f','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 10 choices are known, and who is drawn most of all to 2010s, bleak, first contact. Lately more of Bruno Ekholm, a mirror world, a smuggled manuscript, 1980s, opera house.
Genre: romance (50%), science (50%). Mood: bleak (50%), playful (30%), ironic (10%), tense (10%). Motifs: first contact (50%), a winter famine (40%), a false prophet (20%), a forbidden garden (20%), a golden compass (20%). Setting: salt mine (50%), canal quarter (40%), opera house (10%). Creator: Bruno Kestrel (40%), Ada Holm (20%), Ada Ivers (20%), Bruno Ekholm (10%), Clara Brandt (10%). Period: 2010s (50%), 1960s (20%), 1980s (10%), 2000s (10%), 2020s (10%). Series: The Quiet Bell (40%), The Last Exile (20%).
Words that return in what was chosen: creator, genre, mood, motifs, setting, part, series, bleak, bruno, contact.
Year is mostly around 2015.5, from 1960 to 2020. Part is mostly around 3, from 1 to 6.
Follows series: The Quiet Bell, The Last Exile.
Lately more of Bruno Ekholm, a mirror world, a smuggled manuscript, 1980s, opera house.',0,0,'2026-11-29 20:55:02.566507','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',10,NULL,1.0);
INSERT INTO "profiles" VALUES(2,'default','u0000001','whole','6670fa3055f7597a6eff1333d3abe223be556aeaa3f2c4f5d5efa1b9b346635f','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 4 choices are known, and who is drawn most of all to 2010s, Bruno Kestrel, The Quiet Bell.
Genre: romance (50%), science (50%). Mood: bleak (50%), playful (25%), warm (25%). Motifs: first contact (50%), a false prophet (25%), a forbidden garden (25%), a golden compass (25%), a mirror world (25%). Setting: salt mine (50%), canal quarter (25%), opera house (25%). Series: The Quiet Bell (50%). Creator: Bruno Kestrel (50%), Ada Ivers (25%), Bruno Farrow (25%). Period: 2010s (75%), 1980s (25%).
Words that return in what was chosen: creator, genre, mood, motifs, setting, bruno, bell, bleak, contact, first.
Part is mostly around 4.5, from 4 to 5. Year is mostly around 2013.5, from 1982 to 2018.
Follows series: The Quiet Bell. Stays close to 2010s.',0,0,'2026-11-29 20:55:02.566518','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',4,NULL,9.66666666666666674068e-01);
INSERT INTO "profiles" VALUES(3,'default','u0000002','whole','ddbf58141d2c7d3b90ef845f0e6da8bf62437bfb141c3d450e5818f591e32635','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 6 choices are known, and who is drawn most of all to first contact, salt mine, science. Lately more of a golden compass, Bruno Kestrel, 2010s, The Quiet Bell.
Genre: science (100%). Mood: bleak (50%), ironic (33%), playful (17%). Motifs: first contact (100%), mistaken identity (50%), a golden compass (33%), a forbidden garden (17%). Setting: salt mine (100%). Series: The Quiet Bell (83%). Creator: Bruno Kestrel (83%), Clara Brandt (17%). Period: 2010s (83%), 1960s (17%).
Words that return in what was chosen: contact, creator, first, genre, mine, mood, motifs, salt, science, setting.
Part is mostly around 3, from 1 to 6. Year is mostly around 2015.5, from 1960 to 2019.
Follows series: The Quiet Bell. Stays close to science. Stays close to first contact. Stays close to salt mine. Stays close to The Quiet Bell. Stays close to Bruno Kestrel. Stays close to 2010s.
Lately more of a golden compass, Bruno Kestrel, 2010s, The Quiet Bell. Lately less of ironic.',0,0,'2026-11-29 20:55:02.566520','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',6,NULL,1.0);
INSERT INTO "profiles" VALUES(4,'default','u0000003','whole','45d7d47cef441d5adff2be4a977fcefcff82eb8f6702a3e34192b2f13daa7c9f','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 8 choices are known, and who is drawn most of all to playful, a smuggled manuscript, romance. Lately more of The Drowned Garden, Ada Abend, space opera, 1980s, desert caravan.
Genre: romance (50%), space opera (38%), science (12%). Mood: playful (62%), bleak (12%), tense (12%), warm (12%). Motifs: a smuggled manuscript (50%), a winter famine (38%), a false prophet (25%), a locked room (25%), a great flood (12%). Setting: canal quarter (38%), desert caravan (38%), opera house (12%), salt mine (12%). Creator: Ada Abend (38%), Ada Ivers (25%), Ada Holm (12%), Bruno Farrow (12%), Bruno Kestrel (12%). Period: 1980s (38%), 2020s (25%), 1960s (12%), 2000s (12%), 2010s (12%). Series: The Drowned Garden (25%), The Last Exile (25%), The Quiet Bell (12%).
Words that return in what was chosen: genre, mood, motifs, setting, creator, playful, series, ada, manuscript, opera.
Year is mostly around 1994.5, from 1969 to 2021. Part is mostly around 3, from 2 to 5.
Follows series: The Drowned Garden, The Last Exile. Explores widely: no series has more than a quarter.
Lately more of The Drowned Garden, Ada Abend, space opera, 1980s, desert caravan.',0,0,'2026-11-29 20:55:02.566522','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',8,NULL,1.0);
INSERT INTO "profiles" VALUES(6,'default','u0000005','whole','142f9a1f3d1148dbe711dde186148267bed4dee939dda8304e1e750be5ecc33e','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 7 choices are known, and who is drawn most of all to first contact, salt mine, science. Lately less of Bruno Kestrel, 2010s, The Quiet Bell, science, first contact.
Genre: science (86%), romance (14%). Mood: bleak (71%), ironic (29%). Motifs: first contact (86%), mistaken identity (43%), a forbidden garden (29%), a golden compass (14%), a mirror world (14%). Setting: salt mine (86%), opera house (14%). Series: The Quiet Bell (71%). Creator: Bruno Kestrel (71%), Bruno Ekholm (14%), Clara Brandt (14%). Period: 2010s (71%), 1960s (14%), 1980s (14%).
Words that return in what was chosen: creator, genre, mood, motifs, setting, bruno, contact, first, mine, salt.
Part is mostly around 4, from 2 to 6. Year is mostly around 2016, from 1960 to 2019.
Follows series: The Quiet Bell. Stays close to science. Stays close to bleak. Stays close to first contact. Stays close to salt mine. Stays close to The Quiet Bell. Stays close to Bruno Kestrel. Stays close to 2010s.
Lately less of Bruno Kestrel, 2010s, The Quiet Bell, science, first contact.',0,0,'2026-11-29 20:55:02.566526','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',7,NULL,1.0);
INSERT INTO "profiles" VALUES(7,'default','u0000006','whole','bf2dcfe92259377858a0c2c3d9eea616c3be79f5a00d1f31d31b399d9b7fcf69','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 6 choices are known, and who is drawn most of all to bleak, romance, 1980s. Lately more of bleak.
Genre: romance (67%), science (33%). Mood: bleak (67%), playful (17%), wistful (17%). Motifs: a mirror world (50%), a forbidden garden (33%), a smuggled manuscript (33%), first contact (33%), a great flood (17%). Setting: opera house (50%), salt mine (33%), canal quarter (17%). Period: 1980s (50%), 1960s (33%), 2010s (17%).
Words that return in what was chosen: creator, genre, mood, motifs, setting, year, bleak, bruno, romance, garden.
Year is mostly around 1983.5, from 1960 to 2018. Part is mostly around 5, from 5 to 5.
Lately more of bleak. Lately less of a mirror world, 1980s, opera house, romance.',0,0,'2026-11-29 20:55:02.566528','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',6,NULL,1.0);
INSERT INTO "profiles" VALUES(8,'default','u0000007','whole','4fba445a037de2bdabb7cceb69cd7425bcc44583972e2959561ee96b2c28287f','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 12 choices are known, and who is drawn most of all to a winter famine, canal quarter, romance. Lately more of Ada Brandt, an heirloom violin, 1970s, The Winter Tide.
Genre: romance (67%), space opera (33%). Mood: playful (25%), tense (25%), bleak (17%), warm (17%), ironic (8%). Motifs: a winter famine (67%), a false prophet (42%), a smuggled manuscript (33%), a great flood (25%), a locked room (17%). Setting: canal quarter (67%), desert caravan (33%). Series: The Last Exile (33%), The Drowned Garden (17%), The Winter Tide (17%). Creator: Ada Ivers (50%), Ada Abend (17%), Ada Brandt (17%), Ada Holm (17%). Period: 2020s (25%), 1960s (17%), 1970s (17%), 1980s (17%), 2010s (17%).
Words that return in what was chosen: genre, mood, motifs, setting, winter, ada, canal, creator, famine, quarter.
Part is mostly around 3, from 1 to 6. Year is mostly around 1995, from 1965 to 2023.
Follows series: The Last Exile, The Drowned Garden, The Winter Tide. Explores widely: no mood has more than a quarter. Explores widely: no period has more than a quarter.
Lately more of Ada Brandt, an heirloom violin, 1970s, The Winter Tide. Lately less of Ada Ivers.',0,0,'2026-11-29 20:55:02.566534','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',12,NULL,1.0);
INSERT INTO "profiles" VALUES(9,'default','u0000008','whole','3de0c23c1b0ca1b1aeba11954b850dbf59a4ae7434950acd1d9ccd0376583fb4','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 9 choices are known, and who is drawn most of all to romance, a smuggled manuscript, 1980s. Lately more of Ada Ivers, a false prophet, a winter famine, The Last Exile.
Genre: romance (56%), science (22%), space opera (22%). Mood: bleak (33%), playful (22%), wistful (22%), ironic (11%), tense (11%). Motifs: a smuggled manuscript (44%), a mirror world (33%), a false prophet (22%), a winter famine (22%), an heirloom violin (22%). Setting: opera house (33%), canal quarter (22%), desert caravan (22%), salt mine (22%). Creator: Ada Brandt (22%), Ada Ivers (22%), Bruno Kestrel (22%), Bruno Dahl (11%), Bruno Ekholm (11%). Period: 1980s (33%), 2010s (33%), 1970s (22%), 2020s (11%). Series: The Last Exile (22%), The Quiet Bell (22%), The Winter Tide (22%).
Words that return in what was chosen: genre, mood, motifs, setting, creator, series, bruno, opera, part, romance.
Year is mostly around 1988, from 1973 to 2020. Part is mostly around 2.5, from 1 to 5.
Follows series: The Last Exile, The Quiet Bell, The Winter Tide. Explores widely: no creator has more than a quarter. Explores widely: no series has more than a quarter.
Lately more of Ada Ivers, a false prophet, a winter famine, The Last Exile. Lately less of a smuggled manuscript.',0,0,'2026-11-29 20:55:02.566537','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',9,NULL,9.72222222222222209886e-01);
INSERT INTO "profiles" VALUES(10,'default','u0000009','whole','526f56930453874611caa26992b28ff8ca79a6ede3d9246d44a71640de4a5ec0','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 13 choices are known, and who is drawn most of all to a winter famine, canal quarter, romance. Lately more of space opera, a smuggled manuscript.
Genre: romance (62%), space opera (38%). Mood: wistful (31%), tense (23%), ironic (15%), playful (15%), bleak (8%). Motifs: a winter famine (62%), a false prophet (38%), a smuggled manuscript (38%), a great flood (23%), an heirloom violin (15%). Setting: canal quarter (62%), desert caravan (38%). Series: The Last Exile (38%), The Winter Tide (23%), The Drowned Garden (15%). Creator: Ada Ivers (46%), Ada Brandt (23%), Ada Abend (15%), Ada Holm (15%). Period: 1970s (31%), 2020s (31%), 1960s (15%), 1980s (8%), 2000s (8%).
Words that return in what was chosen: genre, mood, motifs, setting, winter, series, canal, creator, famine, quarter.
Part is mostly around 2.5, from 1 to 5. Year is mostly around 1981, from 1965 to 2023.
Follows series: The Last Exile, The Winter Tide, The Drowned Garden.
Lately more of space opera, a smuggled manuscript. Lately less of a false prophet, romance, a winter famine.',0,0,'2026-11-29 20:55:02.566538','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',13,NULL,0.96875);
INSERT INTO "profiles" VALUES(11,'default','u0000010','whole','cc44ea91879a3faf01de62d72ae617e9951fa169e1e747b27c52091a22d047ff','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 13 choices are known, and who is drawn most of all to a smuggled manuscript, desert caravan, space opera. Lately more of a winter famine, canal quarter, romance.
Genre: space opera (62%), romance (38%). Mood: playful (38%), wistful (23%), bleak (15%), ironic (15%), tense (8%). Motifs: a smuggled manuscript (69%), a winter famine (31%), a false prophet (23%), a locked room (23%), an heirloom violin (23%). Setting: desert caravan (62%), canal quarter (31%), opera house (8%). Series: The Drowned Garden (23%), The Last Exile (23%), The Winter Tide (23%). Creator: Ada Abend (38%), Ada Brandt (23%), Ada Ivers (23%), Ada Holm (8%), Bruno Farrow (8%). Period: 1970s (31%), 1980s (31%), 2020s (15%), 1960s (8%), 2000s (8%).
Words that return in what was chosen: genre, mood, motifs, setting, manuscript, opera, series, smuggled, caravan, desert.
Part is mostly around 2, from 1 to 6. Year is mostly around 1982, from 1969 to 2022.
Follows series: The Drowned Garden, The Last Exile, The Winter Tide. Explores widely: no series has more than a quarter.
Lately more of a winter famine, canal quarter, romance. Lately less of a smuggled manuscript, space opera.',0,0,'2026-11-29 20:55:02.566540','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',13,NULL,1.0);
INSERT INTO "profiles" VALUES(12,'default','u0000011','whole','5fc43f1e116766bb408b445f504cce923c0b5477a0b127dec0e929791f59a760','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 9 choices are known, and who is drawn most of all to a smuggled manuscript, 1980s, desert caravan. Lately more of Ada Abend, The Drowned Garden, a locked room, space opera.
Genre: space opera (67%), romance (33%). Mood: ironic (33%), playful (33%), wistful (22%), bleak (11%). Motifs: a smuggled manuscript (89%), a mirror world (33%), a locked room (22%), an heirloom violin (22%), an unlikely friendship (22%). Setting: desert caravan (67%), opera house (33%). Creator: Ada Abend (44%), Ada Brandt (22%), Bruno Dahl (11%), Bruno Ekholm (11%), Bruno Farrow (11%). Period: 1980s (67%), 1970s (33%). Series: The Drowned Garden (44%), The Winter Tide (22%).
Words that return in what was chosen: genre, mood, motifs, opera, setting, manuscript, smuggled, caravan, desert, series.
Year is mostly around 1981, from 1973 to 1988. Part is mostly around 3, from 2 to 5.
Follows series: The Drowned Garden, The Winter Tide. Stays close to a smuggled manuscript.
Lately more of Ada Abend, The Drowned Garden, a locked room, space opera. Lately less of romance.',0,0,'2026-11-29 20:55:02.566542','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',9,NULL,1.0);
INSERT INTO "profiles" VALUES(13,'default','u0000012','whole','0babd071978259fdd2d9bcc89b7023f883dcf992f28d5d623dcf57fec4ab9cef','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 3 choices are known, and who is drawn most of all to 1980s, a mirror world, opera house.
Genre: romance (100%). Mood: bleak (33%), playful (33%), wistful (33%). Motifs: a mirror world (100%), a smuggled manuscript (67%), a last harvest (33%). Setting: opera house (100%). Creator: Bruno Dahl (33%), Bruno Ekholm (33%), Bruno Farrow (33%). Period: 1980s (100%).
Words that return in what was chosen: bruno, creator, genre, house, mirror, mood, motifs, opera, romance, setting.
Year is mostly around 1985, from 1982 to 1988.',0,0,'2026-11-29 20:55:02.566544','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',3,NULL,1.0);
INSERT INTO "profiles" VALUES(14,'default','u0000013','whole','fb35fb853a0455fd7127491e03f464638f2cdaaf5ed4174f0bf8bf18013e7e6a','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 4 choices are known, and who is drawn most of all to 2010s, Ada Ivers, The Last Exile.
Genre: romance (50%), science (50%). Mood: ironic (50%), playful (25%), tense (25%). Motifs: a false prophet (50%), a winter famine (50%), first contact (50%), mistaken identity (50%). Setting: canal quarter (50%), salt mine (50%). Series: The Last Exile (50%), The Quiet Bell (50%). Creator: Ada Ivers (50%), Bruno Kestrel (50%). Period: 2010s (75%), 2020s (25%).
Words that return in what was chosen: creator, genre, mood, motifs, part, series, setting, ada, bell, bruno.
Part is mostly around 2.5, from 1 to 6. Year is mostly around 2019, from 2016 to 2020.
Follows series: The Last Exile, The Quiet Bell. Stays close to 2010s.',0,0,'2026-11-29 20:55:02.566546','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',4,NULL,9.64285714285714301574e-01);
INSERT INTO "profiles" VALUES(15,'default','u0000014','whole','1c76f810fca7b2724a58c11e45bca8fffdfff2f347fd33e26a1f5176658f0da2','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 13 choices are known, and who is drawn most of all to a smuggled manuscript, desert caravan, space opera. Lately more of Bruno Kestrel, 2010s, The Quiet Bell, science, first contact.
Genre: space opera (54%), science (46%). Mood: ironic (38%), bleak (31%), playful (23%), wistful (8%). Motifs: a smuggled manuscript (54%), first contact (46%), a locked room (23%), mistaken identity (23%), a forbidden garden (15%). Setting: desert caravan (54%), salt mine (46%). Series: The Drowned Garden (38%), The Quiet Bell (38%), The Winter Tide (15%). Creator: Ada Abend (38%), Bruno Kestrel (38%), Ada Brandt (15%), Clara Brandt (8%). Period: 2010s (38%), 1980s (31%), 1970s (23%), 1960s (8%).
Words that return in what was chosen: genre, mood, motifs, setting, series, part, caravan, desert, garden, manuscript.
Part is mostly around 3, from 1 to 6. Year is mostly around 1982, from 1960 to 2019.
Follows series: The Drowned Garden, The Quiet Bell, The Winter Tide.
Lately more of Bruno Kestrel, 2010s, The Quiet Bell, science, first contact.',0,0,'2026-11-29 20:55:02.566548','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',13,NULL,1.0);
INSERT INTO "profiles" VALUES(16,'default','u0000015','whole','b52032cc6ce8f92386207071dad867b2a08cec4e18e39cd93ccf6b919cab2026','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 13 choices are known, and who is drawn most of all to romance, 1980s, a smuggled manuscript. Lately more of 2020s, The Last Exile.
Genre: romance (46%), science (31%), space opera (23%). Mood: bleak (31%), playful (31%), warm (15%), wistful (15%), ironic (8%). Motifs: a smuggled manuscript (38%), first contact (31%), a false prophet (23%), a mirror world (23%), a winter famine (23%). Setting: salt mine (31%), canal quarter (23%), desert caravan (23%), opera house (23%). Series: The Quiet Bell (31%), The Drowned Garden (15%), The Last Exile (15%), The Winter Tide (8%). Creator: Bruno Kestrel (31%), Ada Ivers (23%), Ada Abend (15%), Ada Brandt (8%), Bruno Dahl (8%). Period: 1980s (38%), 2010s (38%), 2020s (15%), 1970s (8%).
Words that return in what was chosen: genre, mood, motifs, setting, creator, series, part, bruno, opera, romance.
Part is mostly around 3, from 1 to 5. Year is mostly around 2010, from 1973 to 2022.
Follows series: The Quiet Bell, The Drowned Garden, The Last Exile.
Lately more of 2020s, The Last Exile. Lately less of a smuggled manuscript, 1980s, playful.',0,0,'2026-11-29 20:55:02.566549','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',13,NULL,1.0);
INSERT INTO "profiles" VALUES(17,'default','u0000016','whole','2081f9a3853bde3a9fd16712424a36040f3aff2963dd6934fc993a610bf854b5','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 9 choices are known, and who is drawn most of all to a smuggled manuscript, desert caravan, space opera. Lately more of Ada Abend, a locked room, space opera, a smuggled manuscript, desert caravan.
Genre: space opera (56%), romance (22%), science (22%). Mood: wistful (44%), ironic (22%), bleak (11%), playful (11%), tense (11%). Motifs: a smuggled manuscript (56%), a locked room (33%), a winter famine (22%), first contact (22%), a false prophet (11%). Setting: desert caravan (56%), canal quarter (22%), salt mine (22%). Series: The Drowned Garden (22%), The Last Exile (22%), The Quiet Bell (22%), The Winter Tide (22%). Creator: Ada Abend (33%), Ada Brandt (22%), Ada Ivers (22%), Bruno Kestrel (22%). Period: 1970s (44%), 2010s (22%), 2020s (22%), 1960s (11%).
Words that return in what was chosen: genre, mood, motifs, setting, series, part, caravan, creator, desert, manuscript.
Part is mostly around 3.5, from 1 to 6. Year is mostly around 1979, from 1969 to 2023.
Follows series: The Drowned Garden, The Last Exile, The Quiet Bell, The Winter Tide. Explores widely: no series has more than a quarter.
Lately more of Ada Abend, a locked room, space opera, a smuggled manuscript, desert caravan.',0,0,'2026-11-29 20:55:02.566551','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',9,NULL,0.96875);
INSERT INTO "profiles" VALUES(18,'default','u0000017','whole','74017d6c0e98ae0d0917f434a1ce295d4d473d52b50da1c39756c44e15a6ab49','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 13 choices are known, and who is drawn most of all to 2010s, Bruno Kestrel, The Quiet Bell. Lately more of a smuggled manuscript.
Genre: romance (46%), science (46%), space opera (8%). Mood: bleak (31%), ironic (23%), playful (15%), tense (15%), wistful (15%). Motifs: first contact (46%), a mirror world (23%), a smuggled manuscript (23%), a winter famine (23%), mistaken identity (23%). Setting: salt mine (46%), canal quarter (23%), opera house (23%), desert caravan (8%). Creator: Bruno Kestrel (46%), Ada Ivers (23%), Ada Abend (8%), Bruno Dahl (8%), Bruno Ekholm (8%). Period: 2010s (46%), 1980s (31%), 2020s (15%), 1960s (8%). Series: The Quiet Bell (46%), The Last Exile (15%), The Drowned Garden (8%).
Words that return in what was chosen: genre, mood, motifs, setting, creator, bruno, series, part, bell, contact.
Year is mostly around 2015, from 1968 to 2023. Part is mostly around 4, from 1 to 6.
Follows series: The Quiet Bell, The Last Exile.
Lately more of a smuggled manuscript. Lately less of mistaken identity, Bruno Kestrel, science, first contact.',0,0,'2026-11-29 20:55:02.566552','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',13,NULL,1.0);
INSERT INTO "profiles" VALUES(19,'default','u0000018','whole','11cf188feb2dc55abeaa17ed9fa86f168f2a84fb74b47ac835cb232961c35e87','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 3 choices are known, and who is drawn most of all to 1980s, a mirror world, opera house.
Genre: romance (100%). Mood: bleak (33%), playful (33%), wistful (33%). Motifs: a mirror world (100%), a smuggled manuscript (67%), a last harvest (33%). Setting: opera house (100%). Creator: Bruno Dahl (33%), Bruno Ekholm (33%), Bruno Farrow (33%). Period: 1980s (100%).
Words that return in what was chosen: bruno, creator, genre, house, mirror, mood, motifs, opera, romance, setting.
Year is mostly around 1985, from 1982 to 1988.',0,0,'2026-11-29 20:55:02.566554','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',3,NULL,1.0);
INSERT INTO "profiles" VALUES(20,'default','u0000019','whole','d54d1908fd9804ca0b1cacc2263bffddde19982aee23dd9d8990518c0eca7177','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 13 choices are known, and who is drawn most of all to a smuggled manuscript, romance, desert caravan. Lately more of 2010s, a false prophet.
Genre: romance (54%), space opera (38%), science (8%). Mood: playful (31%), tense (23%), wistful (23%), bleak (15%), ironic (8%). Motifs: a smuggled manuscript (54%), a winter famine (31%), a false prophet (23%), a mirror world (23%), an heirloom violin (15%). Setting: desert caravan (38%), canal quarter (31%), opera house (23%), salt mine (8%). Creator: Ada Ivers (31%), Ada Brandt (23%), Ada Abend (15%), Bruno Dahl (8%), Bruno Ekholm (8%). Period: 1980s (31%), 1970s (23%), 1960s (15%), 2010s (15%), 2020s (15%). Series: The Last Exile (23%), The Winter Tide (23%), The Drowned Garden (8%), The Quiet Bell (8%).
Words that return in what was chosen: genre, mood, motifs, setting, creator, opera, series, manuscript, romance, smuggled.
Year is mostly around 1982, from 1968 to 2023. Part is mostly around 2.5, from 1 to 5.
Follows series: The Last Exile, The Winter Tide. Explores widely: no series has more than a quarter.
Lately more of 2010s, a false prophet. Lately less of 1980s, a smuggled manuscript, wistful.',0,0,'2026-11-29 20:55:02.566555','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',13,NULL,9.70588235294117640528e-01);
INSERT INTO "profiles" VALUES(21,'default','u0000020','whole','bb3fb4b29e2162dfe291b9441bfcc1674de64e7ed12e26663bc023dba5c80f6d','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 3 choices are known, and who is drawn most of all to a smuggled manuscript, 1980s, opera house.
Genre: romance (67%), space opera (33%). Mood: playful (67%), bleak (33%). Motifs: a smuggled manuscript (100%), a mirror world (67%), a locked room (33%). Setting: opera house (67%), desert caravan (33%). Creator: Ada Abend (33%), Bruno Ekholm (33%), Bruno Farrow (33%). Period: 1980s (67%), 1960s (33%).
Words that return in what was chosen: creator, genre, manuscript, mood, motifs, opera, setting, smuggled, year, bruno.
Year is mostly around 1982, from 1969 to 1988.',0,0,'2026-11-29 20:55:02.566557','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',3,NULL,1.0);
INSERT INTO "profiles" VALUES(22,'default','u0000021','whole','6da24539d0a804c0bae051606e539e9adf51f6b9d110ef3eab3bb5db1c592872','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 5 choices are known, and who is drawn most of all to 2010s, Bruno Kestrel, The Quiet Bell.
Genre: science (60%), space opera (40%). Mood: wistful (40%), bleak (20%), ironic (20%), playful (20%). Motifs: first contact (60%), a smuggled manuscript (40%), mistaken identity (40%), a golden compass (20%), a locked room (20%). Setting: salt mine (60%), desert caravan (40%). Series: The Quiet Bell (60%), The Drowned Garden (20%), The Winter Tide (20%). Creator: Bruno Kestrel (60%), Ada Abend (20%), Ada Brandt (20%). Period: 2010s (60%), 1970s (40%).
Words that return in what was chosen: genre, mood, motifs, series, setting, part, bell, bruno, contact, creator.
Part is mostly around 2, from 1 to 3. Year is mostly around 2014, from 1974 to 2016.
Follows series: The Quiet Bell.',0,0,'2026-11-29 20:55:02.566559','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',5,NULL,9.5833333333333337034e-01);
INSERT INTO "profiles" VALUES(23,'default','u0000022','whole','3759918a411cf4ea50080768395a3a02136349b20b22c2342059bd8631d7c79c','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 13 choices are known, and who is drawn most of all to romance, 2010s, a winter famine. Lately more of a great flood.
Genre: romance (62%), science (31%), space opera (8%). Mood: bleak (23%), ironic (23%), playful (23%), tense (15%), warm (8%). Motifs: a winter famine (38%), first contact (31%), a false prophet (23%), a mirror world (23%), a smuggled manuscript (23%). Setting: canal quarter (38%), salt mine (31%), opera house (23%), desert caravan (8%). Series: The Last Exile (23%), The Quiet Bell (23%), The Winter Tide (8%). Creator: Ada Ivers (31%), Bruno Kestrel (23%), Ada Brandt (8%), Ada Holm (8%), Bruno Dahl (8%). Period: 2010s (38%), 1980s (23%), 2020s (15%), 1960s (8%), 1970s (8%).
Words that return in what was chosen: genre, mood, motifs, setting, creator, romance, part, series, bruno, winter.
Part is mostly around 3, from 1 to 6. Year is mostly around 2010, from 1960 to 2023.
Follows series: The Last Exile, The Quiet Bell. Explores widely: no mood has more than a quarter. Explores widely: no series has more than a quarter.
Lately more of a great flood. Lately less of 2010s, Bruno Kestrel, a false prophet, a mirror world.',0,0,'2026-11-29 20:55:02.566560','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',13,NULL,1.0);
INSERT INTO "profiles" VALUES(24,'default','u0000023','whole','ef7a85c440142064146f0d2491d1ddadc1268e5ba01109cef1411c2dc190931d','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 9 choices are known, and who is drawn most of all to a winter famine, canal quarter, romance. Lately more of Ada Holm, a great flood.
Genre: romance (67%), space opera (33%). Mood: ironic (22%), playful (22%), tense (22%), bleak (11%), warm (11%). Motifs: a winter famine (67%), a false prophet (44%), a smuggled manuscript (33%), a great flood (22%), an heirloom violin (22%). Setting: canal quarter (67%), desert caravan (33%). Series: The Last Exile (33%), The Winter Tide (22%), The Drowned Garden (11%). Creator: Ada Ivers (44%), Ada Brandt (22%), Ada Holm (22%), Ada Abend (11%). Period: 1970s (33%), 1960s (22%), 2020s (22%), 2000s (11%), 2010s (11%).
Words that return in what was chosen: genre, mood, motifs, setting, winter, ada, canal, creator, famine, quarter.
Part is mostly around 2, from 1 to 3. Year is mostly around 1979, from 1965 to 2021.
Follows series: The Last Exile, The Winter Tide. Explores widely: no mood has more than a quarter.
Lately more of Ada Holm, a great flood. Lately less of Ada Ivers, a false prophet, The Last Exile.',0,0,'2026-11-29 20:55:02.566562','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',9,NULL,1.0);
INSERT INTO "profiles" VALUES(25,'default','u0000024','whole','75ab742210453c27ee2ee845158f9f1bfda876a6d1e7bc6e0cc2984b9ae8d0c3','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 12 choices are known, and who is drawn most of all to romance, a winter famine, canal quarter. Lately more of a mirror world.
Genre: romance (83%), space opera (17%). Mood: tense (25%), wistful (25%), bleak (17%), warm (17%), ironic (8%). Motifs: a winter famine (58%), a false prophet (42%), a smuggled manuscript (33%), a mirror world (25%), a great flood (17%). Setting: canal quarter (58%), opera house (25%), desert caravan (17%). Creator: Ada Ivers (50%), Ada Abend (17%), Ada Holm (8%), Bruno Dahl (8%), Bruno Ekholm (8%). Period: 2020s (33%), 1980s (25%), 1960s (17%), 1970s (17%), 2010s (8%). Series: The Last Exile (33%), The Drowned Garden (17%).
Words that return in what was chosen: genre, mood, motifs, setting, creator, romance, canal, famine, quarter, winter.
Year is mostly around 1986.5, from 1965 to 2023. Part is mostly around 2.5, from 1 to 5.
Follows series: The Last Exile, The Drowned Garden. Stays close to romance. Explores widely: no mood has more than a quarter.
Lately more of a mirror world. Lately less of 2020s, The Last Exile, Ada Ivers, tense.',0,0,'2026-11-29 20:55:02.566564','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',12,NULL,9.7368421052631581869e-01);
INSERT INTO "profiles" VALUES(26,'default','u0000025','whole','835451d665ca5a0c2430fcd619b3331f90964a0832af8c6c315f071f379cccc5','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 5 choices are known, and who is drawn most of all to a winter famine, canal quarter, romance.
Genre: romance (100%). Mood: playful (40%), tense (20%), warm (20%), wistful (20%). Motifs: a winter famine (100%), a false prophet (60%), a great flood (40%). Setting: canal quarter (100%). Series: The Last Exile (60%). Creator: Ada Ivers (80%), Ada Holm (20%). Period: 2010s (40%), 2020s (40%), 2000s (20%).
Words that return in what was chosen: canal, creator, famine, genre, mood, motifs, quarter, romance, setting, winter.
Part is mostly around 4, from 1 to 5. Year is mostly around 2019, from 2007 to 2023.
Follows series: The Last Exile. Stays close to romance. Stays close to a winter famine. Stays close to canal quarter. Stays close to Ada Ivers.',0,0,'2026-11-29 20:55:02.566566','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',5,NULL,1.0);
INSERT INTO "profiles" VALUES(27,'default','u0000026','whole','efdcd5072ae47ccaa23eed644ee1e3a1e592baf2cf4c96a7752d7736ad2c25ff','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 8 choices are known, and who is drawn most of all to first contact, salt mine, science. Lately more of Clara Brandt, playful.
Genre: science (88%), romance (12%). Mood: bleak (62%), ironic (25%), playful (12%). Motifs: first contact (88%), mistaken identity (38%), a forbidden garden (25%), a golden compass (25%), a great flood (12%). Setting: salt mine (88%), canal quarter (12%). Series: The Quiet Bell (75%). Creator: Bruno Kestrel (75%), Ada Holm (12%), Clara Brandt (12%). Period: 2010s (75%), 1960s (25%).
Words that return in what was chosen: creator, genre, mood, motifs, setting, contact, first, mine, salt, science.
Part is mostly around 3.5, from 1 to 6. Year is mostly around 2015.5, from 1960 to 2019.
Follows series: The Quiet Bell. Stays close to science. Stays close to first contact. Stays close to salt mine. Stays close to The Quiet Bell. Stays close to Bruno Kestrel. Stays close to 2010s.
Lately more of Clara Brandt, playful. Lately less of bleak, Ada Holm, romance.',0,0,'2026-11-29 20:55:02.566567','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',8,NULL,9.78260869565217405785e-01);
INSERT INTO "profiles" VALUES(28,'default','u0000027','whole','05ed5317c801f3ed38aafaf7bbbce6123593082e15007370157894d8d6eacbdd','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 4 choices are known, and who is drawn most of all to 1970s, Ada Abend, The Drowned Garden.
Genre: science (50%), space opera (50%). Mood: bleak (50%), ironic (25%), wistful (25%). Motifs: a locked room (50%), a smuggled manuscript (50%), first contact (50%), a golden compass (25%), mistaken identity (25%). Setting: desert caravan (50%), salt mine (50%). Series: The Drowned Garden (50%), The Quiet Bell (50%). Creator: Ada Abend (50%), Bruno Kestrel (50%). Period: 1970s (50%), 2010s (50%).
Words that return in what was chosen: genre, mood, motifs, part, series, setting, bell, bleak, bruno, caravan.
Part is mostly around 2, from 1 to 4. Year is mostly around 1997, from 1978 to 2017.
Follows series: The Drowned Garden, The Quiet Bell.',0,0,'2026-11-29 20:55:02.566569','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',4,NULL,9.5833333333333337034e-01);
INSERT INTO "profiles" VALUES(29,'default','u0000028','whole','b912ad9d5119e12d314169064629d281274051a08e90006c96d37cbcba3ccc05','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 10 choices are known, and who is drawn most of all to a smuggled manuscript, desert caravan, space opera. Lately more of a locked room.
Genre: space opera (90%), romance (10%). Mood: ironic (30%), bleak (20%), playful (20%), wistful (20%), tense (10%). Motifs: a smuggled manuscript (90%), a locked room (30%), an heirloom violin (30%), an unlikely friendship (30%), a great flood (10%). Setting: desert caravan (90%), canal quarter (10%). Series: The Drowned Garden (50%), The Winter Tide (30%), The Last Exile (10%). Creator: Ada Abend (60%), Ada Brandt (30%), Ada Ivers (10%). Period: 1980s (50%), 1970s (40%), 2020s (10%).
Words that return in what was chosen: genre, mood, motifs, setting, caravan, desert, manuscript, opera, series, smuggled.
Part is mostly around 3, from 1 to 6. Year is mostly around 1980.5, from 1972 to 2023.
Follows series: The Drowned Garden, The Winter Tide. Stays close to space opera. Stays close to a smuggled manuscript. Stays close to desert caravan.
Lately more of a locked room. Lately less of 1970s, Ada Brandt, ironic, an heirloom violin.',0,0,'2026-11-29 20:55:02.566570','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',10,NULL,9.7368421052631581869e-01);
INSERT INTO "profiles" VALUES(30,'default','u0000029','whole','8da945e1b718ad931b653fc273eadfe2dda95f7fab4ee5615a53de14b99ccf54','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 10 choices are known, and who is drawn most of all to a winter famine, canal quarter, romance. Lately less of romance, a winter famine, canal quarter, Ada Ivers, a false prophet.
Genre: romance (60%), space opera (30%), science (10%). Mood: tense (30%), playful (20%), wistful (20%), bleak (10%), ironic (10%). Motifs: a winter famine (60%), a false prophet (40%), a smuggled manuscript (30%), a great flood (20%), an heirloom violin (20%). Setting: canal quarter (60%), desert caravan (30%), salt mine (10%). Series: The Last Exile (40%), The Winter Tide (20%), The Quiet Bell (10%). Creator: Ada Ivers (50%), Ada Brandt (20%), Ada Abend (10%), Ada Holm (10%), Bruno Kestrel (10%). Period: 2020s (40%), 1960s (20%), 1970s (20%), 2000s (10%), 2010s (10%).
Words that return in what was chosen: genre, mood, motifs, setting, creator, winter, series, ada, canal, famine.
Part is mostly around 3, from 2 to 5. Year is mostly around 2011, from 1968 to 2023.
Follows series: The Last Exile, The Winter Tide.
Lately less of romance, a winter famine, canal quarter, Ada Ivers, a false prophet.',0,0,'2026-11-29 20:55:02.566572','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',10,NULL,1.0);
INSERT INTO "profiles" VALUES(31,'default','u0000030','whole','b426e11a924d864582269854f8a3a8891548089b7b06831f94379905b46edee8','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 8 choices are known, and who is drawn most of all to 2010s, Bruno Kestrel, The Quiet Bell. Lately more of 2010s, Ada Ivers, warm, a false prophet.
Genre: science (62%), romance (38%). Mood: bleak (50%), ironic (25%), playful (12%), warm (12%). Motifs: first contact (62%), mistaken identity (38%), a winter famine (25%), a false prophet (12%), a forbidden garden (12%). Setting: salt mine (62%), canal quarter (25%), opera house (12%). Creator: Bruno Kestrel (62%), Ada Holm (12%), Ada Ivers (12%), Bruno Ekholm (12%). Period: 2010s (75%), 1980s (12%), 2000s (12%). Series: The Quiet Bell (62%).
Words that return in what was chosen: creator, genre, mood, motifs, setting, bruno, bell, contact, first, mine.
Year is mostly around 2015.5, from 1988 to 2019. Part is mostly around 4, from 2 to 6.
Follows series: The Quiet Bell. Stays close to 2010s.
Lately more of 2010s, Ada Ivers, warm, a false prophet. Lately less of ironic.',0,0,'2026-11-29 20:55:02.566574','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',8,NULL,1.0);
INSERT INTO "profiles" VALUES(32,'default','u0000031','whole','fe92cf1ec38657af1ce5530c2f819b3b10b7c05965c3fd41ebba7567dc9dbbc6','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 4 choices are known, and who is drawn most of all to romance, 1980s, a mirror world.
Genre: romance (100%). Mood: bleak (50%), playful (25%), wistful (25%). Motifs: a mirror world (75%), a smuggled manuscript (50%), a great flood (25%), a last harvest (25%), a winter famine (25%). Setting: opera house (75%), canal quarter (25%). Period: 1980s (75%), 1960s (25%).
Words that return in what was chosen: creator, genre, mood, motifs, romance, setting, year, bruno, house, mirror.
Year is mostly around 1983.5, from 1965 to 1988.
Stays close to romance. Stays close to a mirror world. Stays close to opera house. Stays close to 1980s.',0,0,'2026-11-29 20:55:02.566575','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',4,NULL,1.0);
INSERT INTO "profiles" VALUES(33,'default','u0000032','whole','fde6d3205be78bba4ea7d625453e59af0a244b997b87de1cf41f61b3b1a2772e','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 9 choices are known, and who is drawn most of all to romance, 2010s, Bruno Kestrel. Lately more of a winter famine, canal quarter, Ada Holm.
Genre: romance (56%), science (33%), space opera (11%). Mood: ironic (33%), bleak (22%), playful (22%), tense (11%), wistful (11%). Motifs: a smuggled manuscript (33%), a winter famine (33%), first contact (33%), a false prophet (22%), a mirror world (22%). Setting: canal quarter (33%), salt mine (33%), opera house (22%), desert caravan (11%). Series: The Quiet Bell (33%), The Last Exile (22%), The Winter Tide (11%). Creator: Bruno Kestrel (33%), Ada Ivers (22%), Ada Brandt (11%), Ada Holm (11%), Bruno Ekholm (11%). Period: 2010s (33%), 1980s (22%), 2020s (22%), 1970s (11%), 2000s (11%).
Words that return in what was chosen: genre, mood, motifs, setting, creator, part, series, bruno, romance, winter.
Part is mostly around 3.5, from 2 to 6. Year is mostly around 2016, from 1973 to 2022.
Follows series: The Quiet Bell, The Last Exile.
Lately more of a winter famine, canal quarter, Ada Holm. Lately less of ironic, a smuggled manuscript.',0,0,'2026-11-29 20:55:02.566577','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',9,NULL,0.96875);
INSERT INTO "profiles" VALUES(34,'default','u0000033','whole','13ccce21bb7748e0b8750cd55ae8a41669bdc9f36e55920672d4cc14d6608f26','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 8 choices are known, and who is drawn most of all to a winter famine, canal quarter, romance. Lately more of 2010s.
Genre: romance (100%). Mood: tense (38%), playful (25%), warm (25%), wistful (12%). Motifs: a winter famine (100%), a false prophet (75%), a great flood (25%). Setting: canal quarter (100%). Series: The Last Exile (62%). Creator: Ada Ivers (88%), Ada Holm (12%). Period: 2020s (50%), 2010s (25%), 1960s (12%), 2000s (12%).
Words that return in what was chosen: canal, creator, famine, genre, mood, motifs, quarter, romance, setting, winter.
Part is mostly around 3, from 1 to 5. Year is mostly around 2019.5, from 1968 to 2023.
Follows series: The Last Exile. Stays close to romance. Stays close to a winter famine. Stays close to canal quarter. Stays close to Ada Ivers.
Lately more of 2010s. Lately less of 2020s, Ada Holm, wistful, 1960s.',0,0,'2026-11-29 20:55:02.566579','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',8,NULL,1.0);
INSERT INTO "profiles" VALUES(35,'default','u0000034','whole','7070349092376d321c3a482f5dc0b90f1a39d42f018d555efd61d9e6024dba50','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 10 choices are known, and who is drawn most of all to 1980s, a smuggled manuscript, Bruno Kestrel. Lately more of 1980s, Ada Abend, a locked room, The Drowned Garden.
Genre: science (40%), romance (30%), space opera (30%). Mood: bleak (40%), ironic (20%), playful (20%), wistful (20%). Motifs: a smuggled manuscript (50%), first contact (40%), a mirror world (30%), a locked room (20%), mistaken identity (20%). Setting: salt mine (40%), desert caravan (30%), opera house (30%). Creator: Bruno Kestrel (40%), Ada Abend (20%), Ada Brandt (10%), Bruno Dahl (10%), Bruno Ekholm (10%). Period: 1980s (50%), 2010s (40%), 1970s (10%). Series: The Quiet Bell (40%), The Drowned Garden (20%), The Winter Tide (10%).
Words that return in what was chosen: genre, mood, motifs, setting, bruno, creator, series, opera, part, manuscript.
Year is mostly around 1986.5, from 1974 to 2019. Part is mostly around 5, from 3 to 6.
Follows series: The Quiet Bell, The Drowned Garden.
Lately more of 1980s, Ada Abend, a locked room, The Drowned Garden. Lately less of Bruno Kestrel.',0,0,'2026-11-29 20:55:02.566581','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',10,NULL,0.96875);
INSERT INTO "profiles" VALUES(36,'default','u0000035','whole','516f2ee63885d7b21377704f724dc8d0f2d53811b8ab36fb106e6854e063692c','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 3 choices are known, and who is drawn most of all to 2010s, Bruno Kestrel, The Quiet Bell.
Genre: science (67%), romance (33%). Mood: ironic (67%), bleak (33%). Motifs: first contact (67%), mistaken identity (67%), a mirror world (33%), a smuggled manuscript (33%). Setting: salt mine (67%), opera house (33%). Series: The Quiet Bell (67%). Creator: Bruno Kestrel (67%), Bruno Ekholm (33%). Period: 2010s (67%), 1980s (33%).
Words that return in what was chosen: bruno, creator, genre, mood, motifs, setting, bell, contact, first, identity.
Part is mostly around 4.5, from 3 to 6. Year is mostly around 2016, from 1988 to 2019.
Follows series: The Quiet Bell.',0,0,'2026-11-29 20:55:02.566583','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',3,NULL,9.61538461538461564082e-01);
INSERT INTO "profiles" VALUES(37,'default','u0000036','whole','bd3021fbf45ca6cdf58681c4763392c05be3ff9598f06fb267dc2a596d345887','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 10 choices are known, and who is drawn most of all to first contact, salt mine, science. Lately more of romance.
Genre: science (70%), romance (30%). Mood: bleak (40%), ironic (20%), playful (20%), tense (10%), wistful (10%). Motifs: first contact (70%), mistaken identity (30%), a forbidden garden (20%), a golden compass (20%), a great flood (20%). Setting: salt mine (70%), canal quarter (20%), opera house (10%). Series: The Quiet Bell (60%), The Last Exile (10%). Creator: Bruno Kestrel (60%), Ada Holm (10%), Ada Ivers (10%), Bruno Dahl (10%), Clara Brandt (10%). Period: 2010s (60%), 1960s (10%), 1980s (10%), 2000s (10%), 2020s (10%).
Words that return in what was chosen: creator, genre, mood, motifs, setting, bruno, contact, first, mine, part.
Part is mostly around 4, from 1 to 6. Year is mostly around 2015.5, from 1960 to 2023.
Follows series: The Quiet Bell. Stays close to science. Stays close to first contact. Stays close to salt mine.
Lately more of romance. Lately less of science, first contact, salt mine, mistaken identity.',0,0,'2026-11-29 20:55:02.566585','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',10,NULL,1.0);
INSERT INTO "profiles" VALUES(38,'default','u0000037','whole','b60d24ca5e73bee5a914d6948701af7623620548b6e641d5d888563a0e6f2115','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 7 choices are known, and who is drawn most of all to first contact, salt mine, science. Lately more of bleak.
Genre: science (86%), romance (14%). Mood: bleak (43%), ironic (29%), playful (29%). Motifs: first contact (86%), mistaken identity (43%), a forbidden garden (29%), a golden compass (14%), a great flood (14%). Setting: salt mine (86%), canal quarter (14%). Series: The Quiet Bell (71%). Creator: Bruno Kestrel (71%), Ada Holm (14%), Clara Brandt (14%). Period: 2010s (71%), 1960s (14%), 2000s (14%).
Words that return in what was chosen: creator, genre, mood, motifs, setting, contact, first, mine, salt, science.
Part is mostly around 3, from 1 to 6. Year is mostly around 2015, from 1960 to 2019.
Follows series: The Quiet Bell. Stays close to science. Stays close to first contact. Stays close to salt mine. Stays close to The Quiet Bell. Stays close to Bruno Kestrel. Stays close to 2010s.
Lately more of bleak. Lately less of ironic, science, first contact, salt mine.',0,0,'2026-11-29 20:55:02.566586','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',7,NULL,1.0);
INSERT INTO "profiles" VALUES(39,'default','u0000038','whole','3e7c585ae75284bee57d55e6d0456f4d9fcc6c21277eb80f6be106c22f371329','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 3 choices are known, and who is drawn most of all to 1980s, a mirror world, opera house.
Genre: romance (67%), space opera (33%). Mood: wistful (67%), bleak (33%). Motifs: a mirror world (67%), a smuggled manuscript (67%), a last harvest (33%), an heirloom violin (33%). Setting: opera house (67%), desert caravan (33%). Series: The Winter Tide (33%). Creator: Ada Brandt (33%), Bruno Dahl (33%), Bruno Ekholm (33%). Period: 1980s (67%), 1970s (33%).
Words that return in what was chosen: genre, mood, motifs, opera, setting, bruno, creator, house, manuscript, mirror.
Part is mostly around 3, from 3 to 3. Year is mostly around 1985, from 1974 to 1988.',0,0,'2026-11-29 20:55:02.566588','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',3,NULL,9.54545454545454585826e-01);
INSERT INTO "profiles" VALUES(40,'default','u0000039','whole','297562ac1a7ebd3329c85be49f1199059b402e095a92d4c01eb5719c9319eb5e','short/products/whole:131fe55cc2c9536c','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 8 choices are known, and who is drawn most of all to bleak, 1980s, Bruno Kestrel. Lately more of Bruno Farrow, romance, playful, a mirror world.
Genre: science (50%), space opera (38%), romance (12%). Mood: bleak (62%), ironic (25%), playful (12%). Motifs: a smuggled manuscript (50%), first contact (50%), mistaken identity (25%), a forbidden garden (12%), a golden compass (12%). Setting: salt mine (50%), desert caravan (38%), opera house (12%). Series: The Quiet Bell (50%), The Drowned Garden (25%). Creator: Bruno Kestrel (50%), Ada Abend (38%), Bruno Farrow (12%). Period: 1980s (50%), 2010s (50%).
Words that return in what was chosen: genre, mood, motifs, setting, creator, series, bleak, bruno, part, bell.
Part is mostly around 4.5, from 2 to 6. Year is mostly around 2001, from 1981 to 2019.
Follows series: The Quiet Bell, The Drowned Garden.
Lately more of Bruno Farrow, romance, playful, a mirror world. Lately less of bleak.',0,0,'2026-11-29 20:55:02.566589','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',8,NULL,0.96875);
INSERT INTO "profiles" VALUES(41,'default','user-0','whole','fb3a7de68d9f14fa315f019a81c5900e9dccbc9a34bb42bbcc2e40240edee21c','long/movies/whole:7f0251d427035180','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 4 choices are known, and who is drawn most of all to 1970s, Action.
Period: 1970s (100%). Genres: Action (50%), Children''s (50%), Comedy (50%), Drama (50%).
Words that return in what was chosen: dog, film, number, return, story.
Year is mostly around 1974.5, from 1970 to 1979.
Rated above this person''s average: Children''s.
Rated below this person''s average: Drama.
Follows series: Film. Stays close to 1970s.',0,0,'2026-11-29 20:55:39.336126','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',4,NULL,0.9375);
INSERT INTO "profiles" VALUES(42,'default','user-1','whole','e8c7c941218135512e00955bd393741224fb7f689ea7eed0296573ea748d1372','long/movies/whole:7f0251d427035180','template-rules-2 (no language model was called)','{"temperature": 0.7, "max_output_tokens": 1000, "seed": 42, "mode": "agg_after"}','A person of whom 4 choices are known, and who is drawn most of all to 1970s, Action.
Period: 1970s (75%), 1980s (25%). Genres: Action (50%), Children''s (50%), Comedy (50%), Drama (50%).
Words that return in what was chosen: dog, film, number, return, story.
Year is mostly around 1977.5, from 1973 to 1982.
Rated above this person''s average: Comedy.
Rated below this person''s average: Action, 1970s.
Follows series: Film. Stays close to 1970s.',0,0,'2026-11-29 20:55:39.336134','done',NULL,'7b921858a8946af5a76cb614d5aedb1489428c5e77e02222e2c843d7453de8e1',4,NULL,8.88888888888888839545e-01);
CREATE TABLE refresh_chunks (
	job_id VARCHAR(32) NOT NULL, 
	position INTEGER NOT NULL, 
	n_users INTEGER NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	owner VARCHAR(256), 
	lease VARCHAR(32), 
	attempts INTEGER NOT NULL, 
	not_before DATETIME, 
	heartbeat_at DATETIME, 
	started_at DATETIME, 
	ended_at DATETIME, 
	done INTEGER NOT NULL, 
	written INTEGER NOT NULL, 
	reused INTEGER NOT NULL, 
	failed INTEGER NOT NULL, 
	prompt_tokens BIGINT NOT NULL, 
	completion_tokens BIGINT NOT NULL, 
	cost_usd DOUBLE NOT NULL, 
	problems JSON NOT NULL, 
	error TEXT, 
	PRIMARY KEY (job_id, position), 
	FOREIGN KEY(job_id) REFERENCES refresh_jobs (id) ON DELETE CASCADE
);
INSERT INTO "refresh_chunks" VALUES('7844ce5ac0de42a59284ff848f81b689',0,3,'done','machine:1:abcdef','3cb8e7a6388c4c6db657eb648b995562',1,NULL,'2026-11-29 20:55:39.310531','2026-11-29 20:55:39.310531','2026-11-29 20:55:39.344692',3,3,0,0,0,0,0.0,'{}',NULL);
INSERT INTO "refresh_chunks" VALUES('7844ce5ac0de42a59284ff848f81b689',1,3,'running','machine:1:abcdef','34a9d1125772475b8d842ae9e41a903b',1,NULL,'2020-01-01 00:00:00.000000','2026-11-29 20:55:39.348674',NULL,0,0,0,0,0,0,0.0,'{}',NULL);
INSERT INTO "refresh_chunks" VALUES('7844ce5ac0de42a59284ff848f81b689',2,3,'failed',NULL,NULL,3,NULL,NULL,NULL,'2020-01-01 00:00:00.000000',0,0,0,0,0,0,0.0,'{}','no answer within 5 s');
INSERT INTO "refresh_chunks" VALUES('7844ce5ac0de42a59284ff848f81b689',3,3,'pending',NULL,NULL,0,NULL,NULL,NULL,NULL,0,0,0,0,0,0,0.0,'{}',NULL);
CREATE TABLE refresh_jobs (
	id VARCHAR(32) NOT NULL, 
	tenant VARCHAR(64) NOT NULL, 
	name VARCHAR(128) NOT NULL, 
	spec JSON NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	n_users INTEGER NOT NULL, 
	n_chunks INTEGER NOT NULL, 
	budget_tokens BIGINT, 
	budget_usd DOUBLE, 
	created_at DATETIME NOT NULL, 
	started_at DATETIME, 
	ended_at DATETIME, 
	error TEXT, 
	PRIMARY KEY (id)
);
INSERT INTO "refresh_jobs" VALUES('7844ce5ac0de42a59284ff848f81b689','default','movies','{"trace": {}, "profiles": {"backend": "template", "options": {}, "family": "long", "domain": "movies", "aspects": [], "combine": true, "mode": "agg_after", "language": "en", "attributes": null, "item_text_chars": 160, "max_history": 200, "max_output_tokens": 1000, "temperature": 0.7, "seed": 42, "attempts": 3, "max_failed": 0.5, "canary": true, "retry_failed": true, "chunk_users": 3, "checks": {"min_chars": 80, "max_chars": 12000, "language": "en"}, "trust": {"min_grounding": 0.25, "reject_imported": false, "max_filler": 1.0}, "spending": {"usd_per_million_input": null, "usd_per_million_output": null, "max_tokens": null, "max_usd": null}, "history_share": 1.0, "damage": {"share": 0.0, "kind": "others", "seed": 7}}, "snapshot": "/srv/retort/snapshot"}','running',12,4,NULL,NULL,'2026-11-29 20:55:39.307779','2026-11-29 20:55:39.310531',NULL,NULL);
CREATE TABLE runs (
	id VARCHAR(32) NOT NULL, 
	tenant VARCHAR(64) NOT NULL, 
	recipe_name VARCHAR(128) NOT NULL, 
	recipe JSON NOT NULL, 
	data_dir TEXT NOT NULL, 
	out_dir TEXT NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	created_at DATETIME NOT NULL, 
	ended_at DATETIME, 
	bundle TEXT, 
	error TEXT, 
	PRIMARY KEY (id)
);
INSERT INTO "runs" VALUES('c9b6af7e38624f00be6707c34b02c02c','default','tiny','{"description": "A made-up shop for tests", "protocol": "refit", "data": {"source": "synthetic", "options": {"users": 40, "items": 30, "mean_length": 12, "seed": 3}}, "profiles": {"backend": "template", "family": "short", "domain": "products"}, "reducer": {"method": "pca", "n_components": 8}, "student": {"name": "sasrec", "max_length": 20, "embedding_dim": 8}, "training": {"epochs": 2, "batch_size": 32, "negatives": 32, "warmup_steps": 5}, "objectives": [{"name": "profile", "weight": 0.1}]}','/srv/retort/submitted','/srv/retort/submitted','running','2026-11-29 20:55:39.273475',NULL,NULL,NULL);
CREATE TABLE steps (
	run_id VARCHAR(32) NOT NULL, 
	name VARCHAR(128) NOT NULL, 
	position INTEGER NOT NULL, 
	queue VARCHAR(16) NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	what TEXT, 
	done INTEGER NOT NULL, 
	total INTEGER, 
	attempts INTEGER NOT NULL, 
	owner VARCHAR(256), 
	started_at DATETIME, 
	heartbeat_at DATETIME, 
	ended_at DATETIME, 
	error TEXT, 
	PRIMARY KEY (run_id, name), 
	FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
);
INSERT INTO "steps" VALUES('c9b6af7e38624f00be6707c34b02c02c','data',0,'cpu','done',NULL,0,NULL,1,'machine:1','2026-11-29 20:55:39.283522','2026-11-29 20:55:39.283522','2026-11-29 20:55:39.289785',NULL);
INSERT INTO "steps" VALUES('c9b6af7e38624f00be6707c34b02c02c','split',1,'cpu','running',NULL,0,NULL,1,'machine:1','2026-11-29 20:55:39.299466','2020-01-01 00:00:00.000000',NULL,NULL);
INSERT INTO "steps" VALUES('c9b6af7e38624f00be6707c34b02c02c','split_refit',2,'cpu','pending',NULL,0,NULL,0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "steps" VALUES('c9b6af7e38624f00be6707c34b02c02c','profiles',3,'gpu-llm','pending',NULL,0,NULL,0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "steps" VALUES('c9b6af7e38624f00be6707c34b02c02c','vectors',4,'gpu-train','pending',NULL,0,NULL,0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "steps" VALUES('c9b6af7e38624f00be6707c34b02c02c','teacher',5,'cpu','pending',NULL,0,NULL,0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "steps" VALUES('c9b6af7e38624f00be6707c34b02c02c','train',6,'gpu-train','pending',NULL,0,NULL,0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "steps" VALUES('c9b6af7e38624f00be6707c34b02c02c','refit',7,'gpu-train','pending',NULL,0,NULL,0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "steps" VALUES('c9b6af7e38624f00be6707c34b02c02c','export',8,'cpu','pending',NULL,0,NULL,0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "steps" VALUES('c9b6af7e38624f00be6707c34b02c02c','evaluate',9,'cpu','pending',NULL,0,NULL,0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "steps" VALUES('c9b6af7e38624f00be6707c34b02c02c','seal',10,'cpu','pending',NULL,0,NULL,0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "steps" VALUES('c9b6af7e38624f00be6707c34b02c02c','publish',11,'cpu','pending',NULL,0,NULL,0,NULL,NULL,NULL,NULL,NULL);
CREATE INDEX ix_runs_status ON runs (status);
CREATE INDEX ix_profiles_prompt ON profiles (tenant, prompt_version, model);
CREATE INDEX ix_refresh_jobs_status ON refresh_jobs (status);
CREATE INDEX ix_refresh_chunks_status ON refresh_chunks (status, heartbeat_at);
CREATE INDEX ix_events_user ON events (tenant, user_id);
CREATE INDEX ix_events_session ON events (tenant, session_id);
CREATE INDEX ix_alias_changes_alias ON alias_changes (tenant, alias, id);
CREATE INDEX ix_exposures_user ON exposures (tenant, user_id);
CREATE INDEX ix_exposures_session ON exposures (tenant, session_id);
CREATE INDEX ix_exposures_request ON exposures (tenant, request_id);
COMMIT;
