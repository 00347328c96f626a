BEGIN TRANSACTION;
CREATE TABLE attachment_specs (
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted BOOLEAN, 
	id INTEGER NOT NULL, 
	attachment_id VARCHAR(36) NOT NULL, 
	"key" VARCHAR(255), 
	value VARCHAR(255), 
	PRIMARY KEY (id), 
	CHECK (deleted IN (0, 1)), 
	FOREIGN KEY(attachment_id) REFERENCES volume_attachment (id)
);
CREATE TABLE backup_metadata (
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted BOOLEAN, 
	id INTEGER NOT NULL, 
	backup_id VARCHAR(36) NOT NULL, 
	"key" VARCHAR(255), 
	value VARCHAR(255), 
	PRIMARY KEY (id), 
	CHECK (deleted IN (0, 1)), 
	FOREIGN KEY(backup_id) REFERENCES backups (id)
);
CREATE TABLE backups (
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted BOOLEAN, 
	id VARCHAR(36) NOT NULL, 
	volume_id VARCHAR(36) NOT NULL, 
	user_id VARCHAR(255), 
	project_id VARCHAR(255), 
	host VARCHAR(255), 
	availability_zone VARCHAR(255), 
	display_name VARCHAR(255), 
	display_description VARCHAR(255), 
	container VARCHAR(255), 
	status VARCHAR(255), 
	fail_reason VARCHAR(255), 
	service_metadata VARCHAR(255), 
	service VARCHAR(255), 
	size INTEGER, 
	object_count INTEGER, 
	parent_id VARCHAR(36), 
	temp_volume_id VARCHAR(36), 
	temp_snapshot_id VARCHAR(36), 
	num_dependent_backups INTEGER, 
	snapshot_id VARCHAR(36), 
	data_timestamp DATETIME, 
	restore_volume_id VARCHAR(36), 
	encryption_key_id VARCHAR(36), 
	PRIMARY KEY (id), 
	CHECK (deleted IN (0, 1))
);
CREATE TABLE cgsnapshots (
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted BOOLEAN, 
	id VARCHAR(36) NOT NULL, 
	consistencygroup_id VARCHAR(36) NOT NULL, 
	user_id VARCHAR(255), 
	project_id VARCHAR(255), 
	name VARCHAR(255), 
	description VARCHAR(255), 
	status VARCHAR(255), 
	PRIMARY KEY (id), 
	CHECK (deleted IN (0, 1)), 
	FOREIGN KEY(consistencygroup_id) REFERENCES consistencygroups (id)
);
CREATE TABLE cinderlib_persistence_key_value (
	"key" VARCHAR(255) NOT NULL, 
	value TEXT, 
	PRIMARY KEY ("key")
);
INSERT INTO "cinderlib_persistence_key_value" VALUES('node1','{"host": "node1", "initiator": "iqn.1994-05.com.example:node1", "ip": "192.0.2.1", "multipath": false}');
CREATE TABLE clusters (
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted BOOLEAN, 
	id INTEGER NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	binary VARCHAR(255) NOT NULL, 
	disabled BOOLEAN, 
	disabled_reason VARCHAR(255), 
	race_preventer INTEGER NOT NULL, 
	replication_status VARCHAR(36), 
	active_backend_id VARCHAR(255), 
	frozen BOOLEAN DEFAULT (0) NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (name, binary, race_preventer), 
	CHECK (deleted IN (0, 1)), 
	CHECK (disabled IN (0, 1)), 
	CHECK (frozen IN (0, 1))
);
CREATE TABLE consistencygroups (
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted BOOLEAN, 
	id VARCHAR(36) NOT NULL, 
	user_id VARCHAR(255), 
	project_id VARCHAR(255), 
	host VARCHAR(255), 
	availability_zone VARCHAR(255), 
	name VARCHAR(255), 
	description VARCHAR(255), 
	volume_type_id VARCHAR(255), 
	status VARCHAR(255), 
	cgsnapshot_id VARCHAR(36), 
	source_cgid VARCHAR(36), 
	cluster_name VARCHAR(255), 
	PRIMARY KEY (id), 
	CHECK (deleted IN (0, 1))
);
CREATE TABLE default_volume_types (
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	volume_type_id VARCHAR(36), 
	project_id VARCHAR(255) NOT NULL, 
	deleted BOOLEAN, 
	PRIMARY KEY (project_id), 
	FOREIGN KEY(volume_type_id) REFERENCES volume_types (id), 
	CHECK (deleted IN (0, 1))
);
CREATE TABLE driver_initiator_data (
	created_at DATETIME, 
	updated_at DATETIME, 
	id INTEGER NOT NULL, 
	initiator VARCHAR(255) NOT NULL, 
	namespace VARCHAR(255) NOT NULL, 
	"key" VARCHAR(255) NOT NULL, 
	value VARCHAR(255), 
	PRIMARY KEY (id), 
	UNIQUE (initiator, namespace, "key")
);
INSERT INTO "driver_initiator_data" VALUES('2026-11-30 02:22:37.935766',NULL,1,'iqn.1994-05.com.example:node1','pure','chap','secret');
CREATE TABLE encryption (
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted BOOLEAN, 
	cipher VARCHAR(255), 
	control_location VARCHAR(255), 
	key_size INTEGER, 
	provider VARCHAR(255), 
	volume_type_id VARCHAR(36) NOT NULL, 
	encryption_id VARCHAR(36) NOT NULL, 
	PRIMARY KEY (encryption_id), 
	CHECK (deleted IN (0, 1)), 
	CHECK (deleted IN (0, 1))
);
CREATE TABLE group_snapshots (
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted BOOLEAN, 
	id VARCHAR(36) NOT NULL, 
	group_id VARCHAR(36) NOT NULL, 
	user_id VARCHAR(255), 
	project_id VARCHAR(255), 
	name VARCHAR(255), 
	description VARCHAR(255), 
	status VARCHAR(255), 
	group_type_id VARCHAR(36), 
	PRIMARY KEY (id), 
	CHECK (deleted IN (0, 1)), 
	FOREIGN KEY(group_id) REFERENCES groups (id)
);
CREATE TABLE group_type_projects (
	id INTEGER NOT NULL, 
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	group_type_id VARCHAR(36), 
	project_id VARCHAR(255), 
	deleted BOOLEAN, 
	PRIMARY KEY (id), 
	UNIQUE (group_type_id, project_id, deleted), 
	FOREIGN KEY(group_type_id) REFERENCES group_types (id), 
	CHECK (deleted IN (0, 1))
);
CREATE TABLE group_type_specs (
	id INTEGER NOT NULL, 
	"key" VARCHAR(255), 
	value VARCHAR(255), 
	group_type_id VARCHAR(36) NOT NULL, 
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted BOOLEAN, 
	PRIMARY KEY (id), 
	FOREIGN KEY(group_type_id) REFERENCES group_types (id), 
	CHECK (deleted IN (0, 1))
);
INSERT INTO "group_type_specs" VALUES(1,'consistent_group_snapshot_enabled','<is> True','106b2f30-8afa-4dee-8f15-8d475c571d45','2026-11-30 02:22:36.384163','2026-11-30 02:22:36.384163',NULL,0);
CREATE TABLE group_types (
	id VARCHAR(36) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	description VARCHAR(255), 
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted BOOLEAN, 
	is_public BOOLEAN, 
	PRIMARY KEY (id), 
	CHECK (deleted IN (0, 1)), 
	CHECK (is_public IN (0, 1))
);
INSERT INTO "group_types" VALUES('106b2f30-8afa-4dee-8f15-8d475c571d45','default_cgsnapshot_type','Default group type for migrating cgsnapshot','2026-11-30 02:22:36.384163','2026-11-30 02:22:36.384163',NULL,0,1);
CREATE TABLE group_volume_type_mapping (
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted BOOLEAN, 
	id INTEGER NOT NULL, 
	volume_type_id VARCHAR(36) NOT NULL, 
	group_id VARCHAR(36) NOT NULL, 
	PRIMARY KEY (id), 
	CHECK (deleted IN (0, 1)), 
	FOREIGN KEY(volume_type_id) REFERENCES volume_types (id), 
	FOREIGN KEY(group_id) REFERENCES groups (id)
);
CREATE TABLE groups (
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted BOOLEAN, 
	id VARCHAR(36) NOT NULL, 
	user_id VARCHAR(255), 
	project_id VARCHAR(255), 
	cluster_name VARCHAR(255), 
	host VARCHAR(255), 
	availability_zone VARCHAR(255), 
	name VARCHAR(255), 
	description VARCHAR(255), 
	group_type_id VARCHAR(36), 
	status VARCHAR(255), 
	group_snapshot_id VARCHAR(36), 
	source_group_id VARCHAR(36), 
	replication_status VARCHAR(255), 
	PRIMARY KEY (id), 
	CHECK (deleted IN (0, 1))
);
CREATE TABLE image_volume_cache_entries (
	image_updated_at DATETIME, 
	id INTEGER NOT NULL, 
	host VARCHAR(255) NOT NULL, 
	image_id VARCHAR(36) NOT NULL, 
	volume_id VARCHAR(36) NOT NULL, 
	size INTEGER NOT NULL, 
	last_used DATETIME NOT NULL, 
	cluster_name VARCHAR(255), 
	PRIMARY KEY (id)
);
CREATE TABLE messages (
	id VARCHAR(36) NOT NULL, 
	project_id VARCHAR(255) NOT NULL, 
	request_id VARCHAR(255), 
	resource_type VARCHAR(36), 
	resource_uuid VARCHAR(255), 
	event_id VARCHAR(255) NOT NULL, 
	message_level VARCHAR(255) NOT NULL, 
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted BOOLEAN, 
	expires_at DATETIME, 
	detail_id VARCHAR(10), 
	action_id VARCHAR(10), 
	PRIMARY KEY (id), 
	CHECK (deleted IN (0, 1))
);
CREATE TABLE migrate_version (
	repository_id VARCHAR(250) NOT NULL, 
	repository_path TEXT, 
	version INTEGER, 
	PRIMARY KEY (repository_id)
);
INSERT INTO "migrate_version" VALUES('cinder','/opt/cinderlib/lib/python3.8/site-packages/cinder/db/sqlalchemy/migrate_repo',140);
CREATE TABLE quality_of_service_specs (
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted BOOLEAN, 
	id VARCHAR(36) NOT NULL, 
	specs_id VARCHAR(36), 
	"key" VARCHAR(255), 
	value VARCHAR(255), 
	PRIMARY KEY (id), 
	CHECK (deleted IN (0, 1)), 
	FOREIGN KEY(specs_id) REFERENCES quality_of_service_specs (id)
);
INSERT INTO "quality_of_service_specs" VALUES('2026-11-30 02:22:37.628368','2026-11-30 02:22:37.632925',NULL,0,'e77a1706-c3a2-4225-a14a-6b7f6025b5fe',NULL,'QoS_Specs_Name','e77a1706-c3a2-4225-a14a-6b7f6025b5fe');
INSERT INTO "quality_of_service_specs" VALUES('2026-11-30 02:22:37.628868',NULL,NULL,0,'39d15410-b907-4494-8dd1-86c1c84f3854','1945ecc0-a3c5-4cc7-ad63-f1801c5ebbbf','consumer','back-end');
INSERT INTO "quality_of_service_specs" VALUES('2026-11-30 02:22:37.629087',NULL,NULL,0,'79c114d7-0369-4d3c-a90a-9c673870b8d6','1945ecc0-a3c5-4cc7-ad63-f1801c5ebbbf','total_iops_sec','100');
CREATE TABLE quota_classes (
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted BOOLEAN, 
	id INTEGER NOT NULL, 
	class_name VARCHAR(255), 
	resource VARCHAR(255), 
	hard_limit INTEGER, 
	PRIMARY KEY (id), 
	CHECK (deleted IN (0, 1))
);
INSERT INTO "quota_classes" VALUES('2026-11-30 02:22:35.520399',NULL,NULL,0,1,'default','volumes',10);
INSERT INTO "quota_classes" VALUES('2026-11-30 02:22:35.520399',NULL,NULL,0,2,'default','snapshots',10);
INSERT INTO "quota_classes" VALUES('2026-11-30 02:22:35.520399',NULL,NULL,0,3,'default','gigabytes',1000);
INSERT INTO "quota_classes" VALUES('2026-11-30 02:22:35.520399',NULL,NULL,0,4,'default','consistencygroups',10);
INSERT INTO "quota_classes" VALUES('2026-11-30 02:22:35.520399',NULL,NULL,0,5,'default','per_volume_gigabytes',-1);
INSERT INTO "quota_classes" VALUES('2026-11-30 02:22:35.520399',NULL,NULL,0,6,'default','groups',10);
CREATE TABLE quota_usages (
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted BOOLEAN, 
	id INTEGER NOT NULL, 
	project_id VARCHAR(255), 
	resource VARCHAR(300), 
	in_use INTEGER NOT NULL, 
	reserved INTEGER NOT NULL, 
	until_refresh INTEGER, 
	PRIMARY KEY (id), 
	CHECK (deleted IN (0, 1)), 
	CHECK (deleted IN (0, 1))
);
CREATE TABLE quotas (
	id INTEGER NOT NULL, 
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted BOOLEAN, 
	project_id VARCHAR(255), 
	resource VARCHAR(255) NOT NULL, 
	hard_limit INTEGER, 
	allocated INTEGER, 
	PRIMARY KEY (id), 
	CHECK (deleted IN (0, 1))
);
CREATE TABLE reservations (
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted BOOLEAN, 
	id INTEGER NOT NULL, 
	uuid VARCHAR(36) NOT NULL, 
	usage_id INTEGER, 
	project_id VARCHAR(255), 
	resource VARCHAR(255), 
	delta INTEGER NOT NULL, 
	expire DATETIME, 
	allocated_id INTEGER, 
	PRIMARY KEY (id), 
	CHECK (deleted IN (0, 1)), 
	FOREIGN KEY(usage_id) REFERENCES quota_usages (id), 
	FOREIGN KEY(allocated_id) REFERENCES quotas (id)
);
CREATE TABLE services (
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted BOOLEAN, 
	id INTEGER NOT NULL, 
	host VARCHAR(255), 
	binary VARCHAR(255), 
	topic VARCHAR(255), 
	report_count INTEGER NOT NULL, 
	disabled BOOLEAN, 
	availability_zone VARCHAR(255), 
	disabled_reason VARCHAR(255), 
	modified_at DATETIME, 
	rpc_current_version VARCHAR(36), 
	object_current_version VARCHAR(36), 
	replication_status VARCHAR(36), 
	frozen BOOLEAN, 
	active_backend_id VARCHAR(255), 
	cluster_name VARCHAR(255), 
	uuid VARCHAR(36), 
	PRIMARY KEY (id), 
	CHECK (deleted IN (0, 1)), 
	CHECK (disabled IN (0, 1)), 
	CHECK (frozen IN (0, 1))
);
CREATE TABLE snapshot_metadata (
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted BOOLEAN, 
	id INTEGER NOT NULL, 
	snapshot_id VARCHAR(36) NOT NULL, 
	"key" VARCHAR(255), 
	value VARCHAR(255), 
	PRIMARY KEY (id), 
	CHECK (deleted IN (0, 1)), 
	FOREIGN KEY(snapshot_id) REFERENCES snapshots (id)
);
CREATE TABLE snapshots (
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted BOOLEAN, 
	id VARCHAR(36) NOT NULL, 
	volume_id VARCHAR(36) NOT NULL, 
	user_id VARCHAR(255), 
	project_id VARCHAR(255), 
	status VARCHAR(255), 
	progress VARCHAR(255), 
	volume_size INTEGER, 
	scheduled_at DATETIME, 
	display_name VARCHAR(255), 
	display_description VARCHAR(255), 
	provider_location VARCHAR(255), 
	encryption_key_id VARCHAR(36), 
	volume_type_id VARCHAR(36) NOT NULL, 
	cgsnapshot_id VARCHAR(36), 
	provider_id VARCHAR(255), 
	provider_auth VARCHAR(255), 
	group_snapshot_id VARCHAR(36), 
	PRIMARY KEY (id), 
	CHECK (deleted IN (0, 1)), 
	CONSTRAINT snapshots_volume_id_fkey FOREIGN KEY(volume_id) REFERENCES volumes (id), 
	FOREIGN KEY(cgsnapshot_id) REFERENCES cgsnapshots (id), 
	FOREIGN KEY(group_snapshot_id) REFERENCES group_snapshots (id), 
	CHECK (deleted IN (0, 1))
);
INSERT INTO "snapshots" VALUES('2026-11-30 02:22:37.518230',NULL,NULL,0,'b1642806-3f8f-4563-9512-3eeb3211ee93','c652a876-d91a-4d44-86f1-e7a75a437da8','cinderlib','cinderlib','available','array1',1,NULL,'snapshot of plain','first','snap:snapshot-b1642806-3f8f-4563-9512-3eeb3211ee93',NULL,'eb15deb7-1fcc-4691-bb65-045ae6a5319b',NULL,NULL,NULL,NULL);
CREATE TABLE transfers (
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted BOOLEAN, 
	id VARCHAR(36) NOT NULL, 
	volume_id VARCHAR(36) NOT NULL, 
	display_name VARCHAR(255), 
	salt VARCHAR(255), 
	crypt_hash VARCHAR(255), 
	expires_at DATETIME, 
	no_snapshots BOOLEAN, source_project_id VARCHAR(255), destination_project_id VARCHAR(255), accepted BOOLEAN, 
	PRIMARY KEY (id), 
	CHECK (deleted IN (0, 1)), 
	FOREIGN KEY(volume_id) REFERENCES volumes (id), 
	CHECK (no_snapshots IN (0, 1))
);
CREATE TABLE volume_admin_metadata (
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted BOOLEAN, 
	id INTEGER NOT NULL, 
	volume_id VARCHAR(36) NOT NULL, 
	"key" VARCHAR(255), 
	value VARCHAR(255), 
	PRIMARY KEY (id), 
	CHECK (deleted IN (0, 1)), 
	FOREIGN KEY(volume_id) REFERENCES volumes (id)
);
CREATE TABLE volume_attachment (
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted BOOLEAN, 
	id VARCHAR(36) NOT NULL, 
	volume_id VARCHAR(36) NOT NULL, 
	attached_host VARCHAR(255), 
	instance_uuid VARCHAR(36), 
	mountpoint VARCHAR(255), 
	attach_time DATETIME, 
	detach_time DATETIME, 
	attach_mode VARCHAR(36), 
	attach_status VARCHAR(255), 
	connection_info TEXT, 
	connector TEXT, 
	PRIMARY KEY (id), 
	CHECK (deleted IN (0, 1)), 
	FOREIGN KEY(volume_id) REFERENCES volumes (id)
);
INSERT INTO "volume_attachment" VALUES('2026-11-30 02:22:37.702911',NULL,NULL,0,'dd8914d1-e04f-49f1-9c4a-2ec421c21143','e77a1706-c3a2-4225-a14a-6b7f6025b5fe',NULL,NULL,NULL,NULL,NULL,'rw',NULL,'{"conn": {"driver_volume_type": "iscsi", "data": {"target_portal": "192.0.2.9:3260", "target_lun": 1, "auth_password": "secret", "access_mode": "rw"}}, "connector": {"host": "node1", "initiator": "iqn.1994-05.com.example:node1", "ip": "192.0.2.1", "multipath": false}}','{"host": "node1", "initiator": "iqn.1994-05.com.example:node1", "ip": "192.0.2.1", "multipath": false}');
INSERT INTO "volume_attachment" VALUES('2026-11-30 02:22:37.808708',NULL,NULL,0,'d8ba9e5d-e68b-47fc-adf8-9df8bb1161c1','1ed24dc9-ef70-456b-83b1-e0220110b4e8',NULL,NULL,NULL,NULL,NULL,'rw',NULL,'{"conn": {"driver_volume_type": "iscsi", "data": {"target_portal": "192.0.2.9:3260", "target_lun": 1, "auth_password": "secret", "access_mode": "rw"}}, "connector": {"host": "node1", "initiator": "iqn.1994-05.com.example:node1", "ip": "192.0.2.1", "multipath": false}}','{"host": "node1", "initiator": "iqn.1994-05.com.example:node1", "ip": "192.0.2.1", "multipath": false}');
CREATE TABLE volume_glance_metadata (
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted BOOLEAN, 
	id INTEGER NOT NULL, 
	volume_id VARCHAR(36), 
	snapshot_id VARCHAR(36), 
	"key" VARCHAR(255), 
	value TEXT, 
	PRIMARY KEY (id), 
	CHECK (deleted IN (0, 1)), 
	FOREIGN KEY(volume_id) REFERENCES volumes (id), 
	FOREIGN KEY(snapshot_id) REFERENCES snapshots (id)
);
CREATE TABLE volume_metadata (
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted BOOLEAN, 
	id INTEGER NOT NULL, 
	volume_id VARCHAR(36) NOT NULL, 
	"key" VARCHAR(255), 
	value VARCHAR(255), 
	PRIMARY KEY (id), 
	CHECK (deleted IN (0, 1)), 
	FOREIGN KEY(volume_id) REFERENCES volumes (id)
);
INSERT INTO "volume_metadata" VALUES('2026-11-30 02:22:37.461943',NULL,NULL,0,1,'c652a876-d91a-4d44-86f1-e7a75a437da8','array','1');
INSERT INTO "volume_metadata" VALUES('2026-11-30 02:22:37.558493',NULL,NULL,0,2,'1ed24dc9-ef70-456b-83b1-e0220110b4e8','array','1');
INSERT INTO "volume_metadata" VALUES('2026-11-30 02:22:37.592851',NULL,NULL,0,3,'b9fe7a23-7d29-4151-b83f-02590b25d844','array','1');
INSERT INTO "volume_metadata" VALUES('2026-11-30 02:22:37.668422',NULL,NULL,0,4,'e77a1706-c3a2-4225-a14a-6b7f6025b5fe','array','1');
INSERT INTO "volume_metadata" VALUES('2026-11-30 02:22:37.774871',NULL,NULL,0,5,'7b557f54-85fb-4087-98a5-715f1172b991','array','1');
INSERT INTO "volume_metadata" VALUES('2026-11-30 02:22:37.824376',NULL,NULL,0,6,'d20709ff-bf0b-4bea-a69b-ea564136eb73','array','1');
CREATE TABLE volume_type_extra_specs (
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted BOOLEAN, 
	id INTEGER NOT NULL, 
	volume_type_id VARCHAR(36) NOT NULL, 
	"key" VARCHAR(255), 
	value VARCHAR(255), 
	PRIMARY KEY (id), 
	CHECK (deleted IN (0, 1)), 
	CONSTRAINT volume_type_extra_specs_ibfk_1 FOREIGN KEY(volume_type_id) REFERENCES volume_types (id)
);
INSERT INTO "volume_type_extra_specs" VALUES('2026-11-30 02:22:37.649211',NULL,NULL,0,1,'e77a1706-c3a2-4225-a14a-6b7f6025b5fe','thin','<is> True');
INSERT INTO "volume_type_extra_specs" VALUES('2026-11-30 02:22:37.761770',NULL,NULL,0,2,'7b557f54-85fb-4087-98a5-715f1172b991','thin','<is> False');
INSERT INTO "volume_type_extra_specs" VALUES('2026-11-30 02:22:37.867130',NULL,NULL,0,3,'8fc5f38f-2bd3-4fdd-a56b-f2808f74f752','thin','<is> True');
CREATE TABLE volume_type_projects (
	id INTEGER NOT NULL, 
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	volume_type_id VARCHAR(36), 
	project_id VARCHAR(255), 
	deleted INTEGER, 
	PRIMARY KEY (id), 
	UNIQUE (volume_type_id, project_id, deleted), 
	FOREIGN KEY(volume_type_id) REFERENCES volume_types (id)
);
CREATE TABLE volume_types (
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted BOOLEAN, 
	id VARCHAR(36) NOT NULL, 
	name VARCHAR(255), 
	qos_specs_id VARCHAR(36), 
	is_public BOOLEAN, 
	description VARCHAR(255), 
	PRIMARY KEY (id), 
	CHECK (deleted IN (0, 1)), 
	FOREIGN KEY(qos_specs_id) REFERENCES quality_of_service_specs (id), 
	CHECK (is_public IN (0, 1))
);
INSERT INTO "volume_types" VALUES('2026-11-30 02:22:36.761637','2026-11-30 02:22:36.761637',NULL,0,'eb15deb7-1fcc-4691-bb65-045ae6a5319b','__DEFAULT__',NULL,1,'Default Volume Type');
INSERT INTO "volume_types" VALUES('2026-11-30 02:22:37.648671',NULL,NULL,0,'e77a1706-c3a2-4225-a14a-6b7f6025b5fe','e77a1706-c3a2-4225-a14a-6b7f6025b5fe',NULL,1,NULL);
INSERT INTO "volume_types" VALUES('2026-11-30 02:22:37.761453',NULL,NULL,0,'7b557f54-85fb-4087-98a5-715f1172b991','7b557f54-85fb-4087-98a5-715f1172b991',NULL,1,NULL);
INSERT INTO "volume_types" VALUES('2026-11-30 02:22:37.866814',NULL,NULL,0,'8fc5f38f-2bd3-4fdd-a56b-f2808f74f752','8fc5f38f-2bd3-4fdd-a56b-f2808f74f752',NULL,1,NULL);
CREATE TABLE volumes (
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted BOOLEAN, 
	id VARCHAR(36) NOT NULL, 
	ec2_id VARCHAR(255), 
	user_id VARCHAR(255), 
	project_id VARCHAR(255), 
	host VARCHAR(255), 
	size INTEGER, 
	availability_zone VARCHAR(255), 
	status VARCHAR(255), 
	attach_status VARCHAR(255), 
	scheduled_at DATETIME, 
	launched_at DATETIME, 
	terminated_at DATETIME, 
	display_name VARCHAR(255), 
	display_description VARCHAR(255), 
	provider_location VARCHAR(256), 
	provider_auth VARCHAR(256), 
	snapshot_id VARCHAR(36), 
	volume_type_id VARCHAR(36) NOT NULL, 
	source_volid VARCHAR(36), 
	bootable BOOLEAN, 
	provider_geometry VARCHAR(255), 
	_name_id VARCHAR(36), 
	encryption_key_id VARCHAR(36), 
	migration_status VARCHAR(255), 
	replication_status VARCHAR(255), 
	replication_extended_status VARCHAR(255), 
	replication_driver_data VARCHAR(255), 
	consistencygroup_id VARCHAR(36), 
	provider_id VARCHAR(255), 
	multiattach BOOLEAN, 
	previous_status VARCHAR(255), 
	cluster_name VARCHAR(255), 
	group_id VARCHAR(36), 
	service_uuid VARCHAR(36), 
	shared_targets BOOLEAN, 
	PRIMARY KEY (id), 
	CHECK (deleted IN (0, 1)), 
	CHECK (bootable IN (0, 1)), 
	CHECK (multiattach IN (0, 1)), 
	CHECK (shared_targets IN (0, 1)), 
	FOREIGN KEY(consistencygroup_id) REFERENCES consistencygroups (id), 
	FOREIGN KEY(group_id) REFERENCES groups (id), 
	FOREIGN KEY(service_uuid) REFERENCES services (uuid), 
	CHECK (deleted IN (0, 1)), 
	CHECK (bootable IN (0, 1)), 
	CHECK (multiattach IN (0, 1)), 
	CHECK (shared_targets IN (0, 1))
);
INSERT INTO "volumes" VALUES('2026-11-30 02:22:37.448604',NULL,NULL,0,'c652a876-d91a-4d44-86f1-e7a75a437da8',NULL,'cinderlib','cinderlib','vm@array1#p1',1,NULL,'available','detached',NULL,NULL,NULL,'plain','a plain volume','192.0.2.9:3260,1 iqn.2010-10.org.example:volume-c652a876-d91a-4d44-86f1-e7a75a437da8','CHAP user-plain secret',NULL,'eb15deb7-1fcc-4691-bb65-045ae6a5319b',NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'array-plain',0,NULL,NULL,NULL,NULL,1);
INSERT INTO "volumes" VALUES('2026-11-30 02:22:37.448604','2026-11-30 02:22:37.818782',NULL,0,'1ed24dc9-ef70-456b-83b1-e0220110b4e8',NULL,'cinderlib','cinderlib','vm@array1#p1',1,NULL,'in-use','detached',NULL,NULL,NULL,'clone','a plain volume','192.0.2.9:3260,1 iqn.2010-10.org.example:volume-1ed24dc9-ef70-456b-83b1-e0220110b4e8','CHAP user-clone secret',NULL,'eb15deb7-1fcc-4691-bb65-045ae6a5319b','c652a876-d91a-4d44-86f1-e7a75a437da8',0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'array-clone',0,NULL,NULL,NULL,NULL,1);
INSERT INTO "volumes" VALUES('2026-11-30 02:22:37.448604',NULL,NULL,0,'b9fe7a23-7d29-4151-b83f-02590b25d844',NULL,'cinderlib','cinderlib','vm@array1#p1',1,NULL,'available','detached',NULL,NULL,NULL,'copy of snapshot','a plain volume','192.0.2.9:3260,1 iqn.2010-10.org.example:volume-b9fe7a23-7d29-4151-b83f-02590b25d844','CHAP user-copy of snapshot secret','b1642806-3f8f-4563-9512-3eeb3211ee93','eb15deb7-1fcc-4691-bb65-045ae6a5319b',NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'array-copy of snapshot',0,NULL,NULL,NULL,NULL,1);
INSERT INTO "volumes" VALUES('2026-11-30 02:22:37.624401','2026-11-30 02:22:37.733190',NULL,0,'e77a1706-c3a2-4225-a14a-6b7f6025b5fe',NULL,'cinderlib','cinderlib','vm@array1#p1',2,NULL,'in-use','detached',NULL,NULL,NULL,'typed','','192.0.2.9:3260,1 iqn.2010-10.org.example:volume-e77a1706-c3a2-4225-a14a-6b7f6025b5fe','CHAP user-typed secret',NULL,'eb15deb7-1fcc-4691-bb65-045ae6a5319b',NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'array-typed',0,NULL,NULL,NULL,NULL,1);
INSERT INTO "volumes" VALUES('2026-11-30 02:22:37.744096',NULL,NULL,0,'7b557f54-85fb-4087-98a5-715f1172b991',NULL,'cinderlib','cinderlib','vm@array1#p1',2,NULL,'available','detached',NULL,NULL,NULL,'typed and unused','','192.0.2.9:3260,1 iqn.2010-10.org.example:volume-7b557f54-85fb-4087-98a5-715f1172b991','CHAP user-typed and unused secret',NULL,'7b557f54-85fb-4087-98a5-715f1172b991',NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'array-typed and unused',0,NULL,NULL,NULL,NULL,1);
INSERT INTO "volumes" VALUES('2026-11-30 02:22:37.822076','2026-11-30 02:22:37.854947',NULL,0,'d20709ff-bf0b-4bea-a69b-ea564136eb73',NULL,'cinderlib','cinderlib','vm@array1#p1',1,NULL,'error','detached',NULL,NULL,NULL,'failed extension','','192.0.2.9:3260,1 iqn.2010-10.org.example:volume-d20709ff-bf0b-4bea-a69b-ea564136eb73','CHAP user-failed extension secret',NULL,'eb15deb7-1fcc-4691-bb65-045ae6a5319b',NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'array-failed extension',0,'available',NULL,NULL,NULL,1);
CREATE TABLE workers (
	created_at DATETIME, 
	updated_at DATETIME, 
	deleted_at DATETIME, 
	deleted BOOLEAN, 
	id INTEGER NOT NULL, 
	resource_type VARCHAR(40) NOT NULL, 
	resource_id VARCHAR(36) NOT NULL, 
	status VARCHAR(255) NOT NULL, 
	service_id INTEGER, 
	race_preventer INTEGER DEFAULT 0 NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (resource_type, resource_id), 
	CHECK (deleted IN (0, 1)), 
	FOREIGN KEY(service_id) REFERENCES services (id)
);
INSERT INTO "workers" VALUES('2026-11-30 02:22:36.000123','2026-11-30 02:22:36.000123',NULL,0,1,'SENTINEL','SUB-SECOND','OK',NULL,0);
CREATE INDEX ix_cgsnapshots_consistencygroup_id ON cgsnapshots (consistencygroup_id);
CREATE INDEX ix_group_snapshots_group_id ON group_snapshots (group_id);
CREATE UNIQUE INDEX services_uuid_idx ON services (uuid);
CREATE INDEX ix_volume_attachment_volume_id ON volume_attachment (volume_id);
CREATE INDEX ix_attachment_specs_attachment_id ON attachment_specs (attachment_id);
CREATE INDEX ix_snapshot_metadata_snapshot_id ON snapshot_metadata (snapshot_id);
CREATE INDEX ix_quality_of_service_specs_specs_id ON quality_of_service_specs (specs_id);
CREATE INDEX ix_volume_types_qos_specs_id ON volume_types (qos_specs_id);
CREATE INDEX ix_volume_metadata_volume_id ON volume_metadata (volume_id);
CREATE INDEX ix_volume_type_extra_specs_volume_type_id ON volume_type_extra_specs (volume_type_id);
CREATE INDEX ix_quota_classes_class_name ON quota_classes (class_name);
CREATE INDEX reservations_deleted_uuid_idx ON reservations (deleted, uuid);
CREATE INDEX ix_reservations_usage_id ON reservations (usage_id);
CREATE INDEX ix_reservations_project_id ON reservations (project_id);
CREATE INDEX ix_reservations_allocated_id ON reservations (allocated_id);
CREATE INDEX reservations_deleted_expire_idx ON reservations (deleted, expire);
CREATE INDEX ix_volume_glance_metadata_volume_id ON volume_glance_metadata (volume_id);
CREATE INDEX ix_volume_glance_metadata_snapshot_id ON volume_glance_metadata (snapshot_id);
CREATE INDEX ix_backup_metadata_backup_id ON backup_metadata (backup_id);
CREATE INDEX ix_transfers_volume_id ON transfers (volume_id);
CREATE INDEX ix_volume_admin_metadata_volume_id ON volume_admin_metadata (volume_id);
CREATE INDEX ix_driver_initiator_data_initiator ON driver_initiator_data (initiator);
CREATE INDEX ix_image_volume_cache_entries_host ON image_volume_cache_entries (host);
CREATE INDEX ix_image_volume_cache_entries_image_id ON image_volume_cache_entries (image_id);
CREATE INDEX ix_messages_expires_at ON messages (expires_at);
CREATE INDEX ix_workers_service_id ON workers (service_id);
CREATE INDEX ix_group_type_specs_group_type_id ON group_type_specs (group_type_id);
CREATE INDEX ix_group_volume_type_mapping_volume_type_id ON group_volume_type_mapping (volume_type_id);
CREATE INDEX ix_group_volume_type_mapping_group_id ON group_volume_type_mapping (group_id);
CREATE INDEX ix_quota_usages_project_id ON quota_usages (project_id);
CREATE INDEX quota_usage_project_resource_idx ON quota_usages (project_id, resource);
CREATE INDEX ix_volumes_consistencygroup_id ON volumes (consistencygroup_id);
CREATE INDEX ix_volumes_group_id ON volumes (group_id);
CREATE INDEX volumes_service_uuid_idx ON volumes (service_uuid, deleted);
CREATE INDEX ix_snapshots_volume_id ON snapshots (volume_id);
CREATE INDEX ix_snapshots_cgsnapshot_id ON snapshots (cgsnapshot_id);
CREATE INDEX ix_snapshots_group_snapshot_id ON snapshots (group_snapshot_id);
CREATE INDEX ix_default_volume_types_volume_type_id ON default_volume_types (volume_type_id);
COMMIT;
