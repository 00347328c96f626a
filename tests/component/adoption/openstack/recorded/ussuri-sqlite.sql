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
INSERT INTO "consistencygroups" VALUES('2026-11-30 10:19:26.261824',NULL,NULL,0,'00000096-0000-4000-8000-000000000000',NULL,NULL,NULL,NULL,'cg',NULL,NULL,'available',NULL,NULL,NULL);
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
INSERT INTO "driver_initiator_data" VALUES('2026-11-30 10:19:26.924814',NULL,1,'iqn.1994-05.com.example:node1','lvm','chap','chap-secret');
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
INSERT INTO "encryption" VALUES('2026-11-30 10:19:25.179322',NULL,NULL,0,'aes','front-end',256,'luks','6123474a-0651-4116-9772-39115a80e3ee','2fa24a68-4305-4555-93a5-b8791ddda71c');
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
INSERT INTO "group_snapshots" VALUES('2026-11-30 10:19:26.879982',NULL,NULL,0,'00000090-0000-4000-8000-000000000000','00000097-0000-4000-8000-000000000000',NULL,NULL,NULL,NULL,'available',NULL);
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
INSERT INTO "group_type_specs" VALUES(1,'consistent_group_snapshot_enabled','<is> True','96ef759d-a56f-4bda-9e70-16c9e5d9f338','2026-11-30 10:19:23.318957','2026-11-30 10:19:23.318957',NULL,0);
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
INSERT INTO "group_types" VALUES('96ef759d-a56f-4bda-9e70-16c9e5d9f338','default_cgsnapshot_type','Default group type for migrating cgsnapshot','2026-11-30 10:19:23.318957','2026-11-30 10:19:23.318957',NULL,0,1);
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
INSERT INTO "groups" VALUES('2026-11-30 10:19:26.343193',NULL,NULL,0,'00000097-0000-4000-8000-000000000000',NULL,NULL,NULL,NULL,NULL,'group',NULL,'00000098-0000-4000-8000-000000000000','available',NULL,NULL,NULL);
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
INSERT INTO "image_volume_cache_entries" VALUES(NULL,1,'node1@lvm#pool1','00000099-0000-4000-8000-000000000000','00000021-0000-4000-8000-000000000000',1,'2026-11-30 10:19:26.466359',NULL);
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
INSERT INTO "migrate_version" VALUES('cinder','migrate_repo',136);
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
INSERT INTO "quality_of_service_specs" VALUES('2026-11-30 10:19:24.658512',NULL,NULL,0,'b194ffa8-8fdb-44c5-9c4d-2e4d8f7931ae',NULL,'QoS_Specs_Name','limits');
INSERT INTO "quality_of_service_specs" VALUES('2026-11-30 10:19:24.667839',NULL,NULL,0,'db25aa09-68e0-43a9-95a2-36cac51781f3','b194ffa8-8fdb-44c5-9c4d-2e4d8f7931ae','consumer','front-end');
INSERT INTO "quality_of_service_specs" VALUES('2026-11-30 10:19:24.668572',NULL,NULL,0,'e035acfa-2118-40e6-940e-b83c44243a28','b194ffa8-8fdb-44c5-9c4d-2e4d8f7931ae','total_iops_sec','100');
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
INSERT INTO "quota_classes" VALUES('2026-11-30 10:19:22.643283',NULL,NULL,0,1,'default','volumes',10);
INSERT INTO "quota_classes" VALUES('2026-11-30 10:19:22.643283',NULL,NULL,0,2,'default','snapshots',10);
INSERT INTO "quota_classes" VALUES('2026-11-30 10:19:22.643283',NULL,NULL,0,3,'default','gigabytes',1000);
INSERT INTO "quota_classes" VALUES('2026-11-30 10:19:22.643283',NULL,NULL,0,4,'default','consistencygroups',10);
INSERT INTO "quota_classes" VALUES('2026-11-30 10:19:22.643283',NULL,NULL,0,5,'default','per_volume_gigabytes',-1);
INSERT INTO "quota_classes" VALUES('2026-11-30 10:19:22.643283',NULL,NULL,0,6,'default','groups',10);
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
INSERT INTO "services" VALUES('2026-11-30 10:19:25.263252','2026-11-30 10:19:25.263267',NULL,0,1,'node1@lvm','cinder-volume','cinder-volume',0,0,'cinder',NULL,NULL,NULL,NULL,'not-capable',0,NULL,NULL,NULL);
INSERT INTO "services" VALUES('2026-11-30 10:19:25.283150','2026-11-30 10:19:25.283164',NULL,0,2,'node2@away','cinder-volume','cinder-volume',0,0,'cinder',NULL,NULL,NULL,NULL,'not-capable',0,'site2',NULL,NULL);
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
INSERT INTO "snapshot_metadata" VALUES('2026-11-30 10:19:25.434486',NULL,NULL,0,1,'00000101-0000-4000-8000-000000000000','day','monday');
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
INSERT INTO "snapshots" VALUES('2026-11-30 10:19:25.428697',NULL,NULL,0,'00000101-0000-4000-8000-000000000000','00000001-0000-4000-8000-000000000000',NULL,'project-1','available',NULL,1,NULL,'snapshot of 1',NULL,'snap-101',NULL,'f6190d7f-cafd-4435-a4f6-2b27d912e716',NULL,NULL,NULL,NULL);
INSERT INTO "snapshots" VALUES('2026-11-30 10:19:26.638735',NULL,NULL,0,'00000125-0000-4000-8000-000000000000','00000025-0000-4000-8000-000000000000',NULL,'project-1','error',NULL,1,NULL,'snapshot of 25',NULL,'snap-125',NULL,'f6190d7f-cafd-4435-a4f6-2b27d912e716',NULL,NULL,NULL,NULL);
INSERT INTO "snapshots" VALUES('2026-11-30 10:19:26.902883',NULL,NULL,0,'00000132-0000-4000-8000-000000000000','00000032-0000-4000-8000-000000000000',NULL,'project-1','available',NULL,1,NULL,'snapshot of 32',NULL,'snap-132',NULL,'f6190d7f-cafd-4435-a4f6-2b27d912e716',NULL,NULL,NULL,'00000090-0000-4000-8000-000000000000');
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
INSERT INTO "transfers" VALUES('2026-11-30 10:19:26.757070',NULL,NULL,0,'00000100-0000-4000-8000-000000000000','00000028-0000-4000-8000-000000000000','x','s','c',NULL,0,NULL,NULL,0);
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
INSERT INTO "volume_admin_metadata" VALUES('2026-11-30 10:19:25.306549',NULL,NULL,0,1,'00000001-0000-4000-8000-000000000000','readonly','True');
INSERT INTO "volume_admin_metadata" VALUES('2026-11-30 10:19:26.797684',NULL,NULL,0,2,'00000030-0000-4000-8000-000000000000','temporary','True');
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
INSERT INTO "volume_attachment" VALUES('2026-11-30 10:19:25.816129',NULL,NULL,0,'ed0e2098-4c83-4ae5-8c64-d5183d2de0df','00000011-0000-4000-8000-000000000000','compute1','00000094-0000-4000-8000-000000000000','/dev/vdb','2026-11-30 10:19:25.855091',NULL,'rw','attached',NULL,NULL);
INSERT INTO "volume_attachment" VALUES('2026-11-30 10:19:26.009534',NULL,NULL,0,'17528386-d158-4ecb-9204-cc12e04d1bba','00000012-0000-4000-8000-000000000000','compute2',NULL,NULL,NULL,NULL,NULL,'attaching',NULL,NULL);
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
INSERT INTO "volume_glance_metadata" VALUES('2026-11-30 10:19:25.593182',NULL,NULL,0,1,'00000003-0000-4000-8000-000000000000',NULL,'image_id','00000093-0000-4000-8000-000000000000');
INSERT INTO "volume_glance_metadata" VALUES('2026-11-30 10:19:25.618194',NULL,NULL,0,2,'00000003-0000-4000-8000-000000000000',NULL,'os_type','linux');
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
INSERT INTO "volume_metadata" VALUES('2026-11-30 10:19:25.307047',NULL,NULL,0,1,'00000001-0000-4000-8000-000000000000','owner','zoë');
INSERT INTO "volume_metadata" VALUES('2026-11-30 10:19:26.488431',NULL,NULL,0,2,'00000022-0000-4000-8000-000000000000','glance_image_id','00000099-0000-4000-8000-000000000000');
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
INSERT INTO "volume_type_extra_specs" VALUES('2026-11-30 10:19:25.083316',NULL,NULL,0,1,'4735f149-d0d9-41b7-a398-2582107ee609','thin_provisioning_support','<is> True');
INSERT INTO "volume_type_extra_specs" VALUES('2026-11-30 10:19:25.222149',NULL,NULL,0,2,'c8b95e28-7756-4cdc-8b26-c910cd354268','replication_enabled','<is> True');
INSERT INTO "volume_type_extra_specs" VALUES('2026-11-30 10:19:25.746014',NULL,'2026-11-30 10:19:25.756436',1,3,'4735f149-d0d9-41b7-a398-2582107ee609','old','x');
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
INSERT INTO "volume_types" VALUES('2026-11-30 10:19:23.577787','2026-11-30 10:19:23.577787',NULL,0,'b85c820c-2131-4b1d-a3ff-262009a32a1b','__DEFAULT__',NULL,1,'Default Volume Type');
INSERT INTO "volume_types" VALUES('2026-11-30 10:19:24.989485',NULL,NULL,0,'f6190d7f-cafd-4435-a4f6-2b27d912e716','plain',NULL,1,NULL);
INSERT INTO "volume_types" VALUES('2026-11-30 10:19:25.078850',NULL,NULL,0,'4735f149-d0d9-41b7-a398-2582107ee609','gold','b194ffa8-8fdb-44c5-9c4d-2e4d8f7931ae',1,NULL);
INSERT INTO "volume_types" VALUES('2026-11-30 10:19:25.141609',NULL,NULL,0,'6123474a-0651-4116-9772-39115a80e3ee','secret',NULL,1,NULL);
INSERT INTO "volume_types" VALUES('2026-11-30 10:19:25.221688',NULL,NULL,0,'c8b95e28-7756-4cdc-8b26-c910cd354268','mirrored',NULL,1,NULL);
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
INSERT INTO "volumes" VALUES('2026-11-30 10:19:25.305076',NULL,NULL,0,'00000001-0000-4000-8000-000000000000',NULL,'user-1','project-1','node1@lvm#pool1',2,'nova','available','detached',NULL,NULL,NULL,'plain','a plain volume','192.0.2.9:3260,1 iqn.2010-10.org.openstack:volume-1 1','CHAP user secret',NULL,'f6190d7f-cafd-4435-a4f6-2b27d912e716',NULL,0,NULL,'00000091-0000-4000-8000-000000000000',NULL,NULL,NULL,NULL,NULL,NULL,'array-1',0,NULL,NULL,NULL,NULL,1);
INSERT INTO "volumes" VALUES('2026-11-30 10:19:25.460352',NULL,NULL,0,'00000002-0000-4000-8000-000000000000',NULL,'user-1','project-2','node1@lvm#pool1',1,'nova','available','detached',NULL,NULL,NULL,'typed',NULL,NULL,NULL,NULL,'4735f149-d0d9-41b7-a398-2582107ee609',NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,1);
INSERT INTO "volumes" VALUES('2026-11-30 10:19:25.523304',NULL,NULL,0,'00000003-0000-4000-8000-000000000000',NULL,'user-1','project-1','node1@lvm#pool1',1,'nova','available','detached',NULL,NULL,NULL,'from image',NULL,NULL,NULL,NULL,'f6190d7f-cafd-4435-a4f6-2b27d912e716',NULL,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,1);
INSERT INTO "volumes" VALUES('2026-11-30 10:19:25.643998',NULL,NULL,0,'00000004-0000-4000-8000-000000000000',NULL,'user-1','project-1','node1@lvm#pool2',1,'nova','available','detached',NULL,NULL,NULL,'copy',NULL,NULL,NULL,NULL,'f6190d7f-cafd-4435-a4f6-2b27d912e716','00000001-0000-4000-8000-000000000000',0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,1);
INSERT INTO "volumes" VALUES('2026-11-30 10:19:25.703888',NULL,NULL,0,'00000005-0000-4000-8000-000000000000',NULL,'user-1','project-1','node1@lvm#pool1',1,'nova','maintenance','detached',NULL,NULL,NULL,'fenced',NULL,NULL,NULL,NULL,'f6190d7f-cafd-4435-a4f6-2b27d912e716',NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1,NULL,NULL,NULL,NULL,1);
INSERT INTO "volumes" VALUES('2026-11-30 10:19:25.769684','2026-11-30 10:19:25.897321',NULL,0,'00000011-0000-4000-8000-000000000000',NULL,'user-1','project-1','node1@lvm#pool1',1,'nova','in-use','attached',NULL,NULL,NULL,'attached',NULL,NULL,NULL,NULL,'f6190d7f-cafd-4435-a4f6-2b27d912e716',NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,1);
INSERT INTO "volumes" VALUES('2026-11-30 10:19:25.961053',NULL,NULL,0,'00000012-0000-4000-8000-000000000000',NULL,'user-1','project-1','node1@lvm#pool1',1,'nova','available','detached',NULL,NULL,NULL,'attaching',NULL,NULL,NULL,NULL,'f6190d7f-cafd-4435-a4f6-2b27d912e716',NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,1);
INSERT INTO "volumes" VALUES('2026-11-30 10:19:26.026629',NULL,NULL,0,'00000013-0000-4000-8000-000000000000',NULL,'user-1','project-1','node1@lvm#pool1',1,'nova','available','detached',NULL,NULL,NULL,'encrypted',NULL,NULL,NULL,NULL,'f6190d7f-cafd-4435-a4f6-2b27d912e716',NULL,0,NULL,NULL,'00000095-0000-4000-8000-000000000000',NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,1);
INSERT INTO "volumes" VALUES('2026-11-30 10:19:26.052340',NULL,NULL,0,'00000014-0000-4000-8000-000000000000',NULL,'user-1','project-1','node1@lvm#pool1',1,'nova','available','detached',NULL,NULL,NULL,'of an encrypted type',NULL,NULL,NULL,NULL,'6123474a-0651-4116-9772-39115a80e3ee',NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,1);
INSERT INTO "volumes" VALUES('2026-11-30 10:19:26.082621',NULL,NULL,0,'00000015-0000-4000-8000-000000000000',NULL,'user-1','project-1','node1@lvm#pool1',1,'nova','available','detached',NULL,NULL,NULL,'replicated',NULL,NULL,NULL,NULL,'f6190d7f-cafd-4435-a4f6-2b27d912e716',NULL,0,NULL,NULL,NULL,NULL,'enabled',NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,1);
INSERT INTO "volumes" VALUES('2026-11-30 10:19:26.117141',NULL,NULL,0,'00000016-0000-4000-8000-000000000000',NULL,'user-1','project-1','node1@lvm#pool1',1,'nova','available','detached',NULL,NULL,NULL,'of a replicated type',NULL,NULL,NULL,NULL,'c8b95e28-7756-4cdc-8b26-c910cd354268',NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,1);
INSERT INTO "volumes" VALUES('2026-11-30 10:19:26.160981',NULL,NULL,0,'00000017-0000-4000-8000-000000000000',NULL,'user-1','project-1','node1@lvm#pool1',1,'nova','available','detached',NULL,NULL,NULL,'migrating',NULL,NULL,NULL,NULL,'f6190d7f-cafd-4435-a4f6-2b27d912e716',NULL,0,NULL,NULL,NULL,'migrating',NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,1);
INSERT INTO "volumes" VALUES('2026-11-30 10:19:26.197187',NULL,NULL,0,'00000018-0000-4000-8000-000000000000',NULL,'user-1','project-1','node1@lvm#pool1',1,'nova','creating','detached',NULL,NULL,NULL,'creating',NULL,NULL,NULL,NULL,'f6190d7f-cafd-4435-a4f6-2b27d912e716',NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,1);
INSERT INTO "volumes" VALUES('2026-11-30 10:19:26.302595',NULL,NULL,0,'00000019-0000-4000-8000-000000000000',NULL,'user-1','project-1','node1@lvm#pool1',1,'nova','available','detached',NULL,NULL,NULL,'in a consistency group',NULL,NULL,NULL,NULL,'f6190d7f-cafd-4435-a4f6-2b27d912e716',NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'00000096-0000-4000-8000-000000000000',NULL,0,NULL,NULL,NULL,NULL,1);
INSERT INTO "volumes" VALUES('2026-11-30 10:19:26.360941',NULL,NULL,0,'00000020-0000-4000-8000-000000000000',NULL,'user-1','project-1','node1@lvm#pool1',1,'nova','available','detached',NULL,NULL,NULL,'in a group',NULL,NULL,NULL,NULL,'f6190d7f-cafd-4435-a4f6-2b27d912e716',NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,'00000097-0000-4000-8000-000000000000',NULL,1);
INSERT INTO "volumes" VALUES('2026-11-30 10:19:26.405812',NULL,NULL,0,'00000021-0000-4000-8000-000000000000',NULL,'user-1','project-1','node1@lvm#pool1',1,'nova','available','detached',NULL,NULL,NULL,'cached image',NULL,NULL,NULL,NULL,'f6190d7f-cafd-4435-a4f6-2b27d912e716',NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,1);
INSERT INTO "volumes" VALUES('2026-11-30 10:19:26.487349',NULL,NULL,0,'00000022-0000-4000-8000-000000000000',NULL,'user-1','project-1','node1@lvm#pool1',1,'nova','available','detached',NULL,NULL,NULL,'image of glance',NULL,NULL,NULL,NULL,'f6190d7f-cafd-4435-a4f6-2b27d912e716',NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,1);
INSERT INTO "volumes" VALUES('2026-11-30 10:19:26.542652',NULL,'2026-11-30 10:19:26.573647',1,'00000023-0000-4000-8000-000000000000',NULL,'user-1','project-1','node1@lvm#pool1',1,'nova','deleted','detached',NULL,NULL,NULL,'deleted',NULL,NULL,NULL,NULL,'f6190d7f-cafd-4435-a4f6-2b27d912e716',NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,1);
INSERT INTO "volumes" VALUES('2026-11-30 10:19:26.585296',NULL,NULL,0,'00000024-0000-4000-8000-000000000000',NULL,'user-1','project-1','node1@lvm#pool1',1,'nova','available','detached',NULL,NULL,NULL,'clustered',NULL,NULL,NULL,NULL,'f6190d7f-cafd-4435-a4f6-2b27d912e716',NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,'cluster@lvm',NULL,NULL,1);
INSERT INTO "volumes" VALUES('2026-11-30 10:19:26.606544',NULL,NULL,0,'00000025-0000-4000-8000-000000000000',NULL,'user-1','project-1','node1@lvm#pool1',1,'nova','available','detached',NULL,NULL,NULL,'with a failed snapshot',NULL,NULL,NULL,NULL,'f6190d7f-cafd-4435-a4f6-2b27d912e716',NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,1);
INSERT INTO "volumes" VALUES('2026-11-30 10:19:26.650550',NULL,NULL,0,'00000026-0000-4000-8000-000000000000',NULL,'user-1','project-1','node1@lvm#pool1',1,'nova','in-use','attached',NULL,NULL,NULL,'in use',NULL,NULL,NULL,NULL,'f6190d7f-cafd-4435-a4f6-2b27d912e716',NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,1);
INSERT INTO "volumes" VALUES('2026-11-30 10:19:26.669531',NULL,NULL,0,'00000027-0000-4000-8000-000000000000',NULL,'user-1','project-1','node1@lvm#pool1',1,'nova','available','detached',NULL,NULL,NULL,'interrupted',NULL,NULL,NULL,NULL,'f6190d7f-cafd-4435-a4f6-2b27d912e716',NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,1);
INSERT INTO "volumes" VALUES('2026-11-30 10:19:26.708948','2026-11-30 10:19:26.760740',NULL,0,'00000028-0000-4000-8000-000000000000',NULL,'user-1','project-1','node1@lvm#pool1',1,'nova','available','detached',NULL,NULL,NULL,'offered',NULL,NULL,NULL,NULL,'f6190d7f-cafd-4435-a4f6-2b27d912e716',NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,1);
INSERT INTO "volumes" VALUES('2026-11-30 10:19:26.769411',NULL,NULL,0,'00000029-0000-4000-8000-000000000000',NULL,'user-1','project-1','node2@away#pool1',1,'nova','available','detached',NULL,NULL,NULL,'failed over',NULL,NULL,NULL,NULL,'f6190d7f-cafd-4435-a4f6-2b27d912e716',NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,1);
INSERT INTO "volumes" VALUES('2026-11-30 10:19:26.796949',NULL,NULL,0,'00000030-0000-4000-8000-000000000000',NULL,'user-1','project-1','node1@lvm#pool1',1,'nova','available','detached',NULL,NULL,NULL,'temporary',NULL,NULL,NULL,NULL,'f6190d7f-cafd-4435-a4f6-2b27d912e716',NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,1);
INSERT INTO "volumes" VALUES('2026-11-30 10:19:26.821736',NULL,NULL,0,'00000031-0000-4000-8000-000000000000',NULL,'user-1','project-1',NULL,1,'nova','available','detached',NULL,NULL,NULL,'without a host',NULL,NULL,NULL,NULL,'f6190d7f-cafd-4435-a4f6-2b27d912e716',NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,1);
INSERT INTO "volumes" VALUES('2026-11-30 10:19:26.852512',NULL,NULL,0,'00000032-0000-4000-8000-000000000000',NULL,'user-1','project-1','node1@lvm#pool1',1,'nova','available','detached',NULL,NULL,NULL,'with a group snapshot',NULL,NULL,NULL,NULL,'f6190d7f-cafd-4435-a4f6-2b27d912e716',NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,1);
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
INSERT INTO "workers" VALUES('2026-11-30 10:19:23.000123','2026-11-30 10:19:23.000123',NULL,0,1,'SENTINEL','SUB-SECOND','OK',NULL,0);
INSERT INTO "workers" VALUES('2026-11-30 10:19:26.695372','2026-11-30 10:19:26.694252',NULL,0,2,'Volume','00000027-0000-4000-8000-000000000000','creating',NULL,0);
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
CREATE INDEX ix_reservations_allocated_id ON reservations (allocated_id);
CREATE INDEX reservations_deleted_expire_idx ON reservations (deleted, expire);
CREATE INDEX reservations_deleted_uuid_idx ON reservations (deleted, uuid);
CREATE INDEX ix_reservations_usage_id ON reservations (usage_id);
CREATE INDEX ix_reservations_project_id ON reservations (project_id);
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
CREATE INDEX quota_usage_project_resource_idx ON quota_usages (project_id, resource);
CREATE INDEX ix_quota_usages_project_id ON quota_usages (project_id);
CREATE INDEX ix_volumes_group_id ON volumes (group_id);
CREATE INDEX volumes_service_uuid_idx ON volumes (service_uuid, deleted);
CREATE INDEX ix_volumes_consistencygroup_id ON volumes (consistencygroup_id);
CREATE INDEX ix_snapshots_cgsnapshot_id ON snapshots (cgsnapshot_id);
CREATE INDEX ix_snapshots_group_snapshot_id ON snapshots (group_snapshot_id);
CREATE INDEX ix_snapshots_volume_id ON snapshots (volume_id);
COMMIT;
