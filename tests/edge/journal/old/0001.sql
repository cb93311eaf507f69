-- A journal as the first schema kept it: two participants, four messages each way through, checkpoints, one message under way.

-- The values of various per-database settings
PRAGMA page_size=4096;
-- PRAGMA encoding='UTF-8';
-- PRAGMA auto_vacuum=NONE;
-- PRAGMA max_page_count=4294967294;

BEGIN TRANSACTION;

-- Table  asset
DROP TABLE IF EXISTS asset;
CREATE TABLE asset (
    environment TEXT NOT NULL CHECK (environment IN ('live', 'test')),
    participant TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    smp_id TEXT,
    origin TEXT NOT NULL CHECK (origin IN ('created', 'adopted', 'seen')),
    is_there INTEGER NOT NULL CHECK (is_there IN (0, 1)),
    gsp_group TEXT,
    message_id TEXT,
    note TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (environment, participant, kind, name)
) STRICT, WITHOUT ROWID;

-- Table  attempt
DROP TABLE IF EXISTS attempt;
CREATE TABLE attempt (
    submission_id TEXT NOT NULL REFERENCES submission (id),
    number INTEGER NOT NULL CHECK (number >= 1),
    jti TEXT NOT NULL,
    iat INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    signature TEXT,
    outcome TEXT,
    status INTEGER,
    answer BLOB,
    answer_signature TEXT,
    note TEXT,
    settled_at INTEGER,
    PRIMARY KEY (submission_id, number)
) STRICT, WITHOUT ROWID;
INSERT INTO attempt VALUES('depot-1',1,'jti-depot-1',1795000000,'exstor-2026-11',1795000000000008,1,'eyJhbGciOiJFUzI1NiIsImtpZCI6ImV4c3Rvci0yMDI2LTExIiwidHlwIjoidCIsImlhdCI6MTc5NTAwMDAwMCwianRpIjoianRpLWRlcG90LTEiLCJhdWQiOiJhIiwiY3JpdCI6WyJpYXQiLCJqdGkiLCJhdWQiXX0..F6BH-9j7r1tU7W2e8gOuPQ5PM5sx6A2JiEfxCyZIRp9jQlxqkf90jXEBWLVksNs1TlehdbjvcrDwWS_bfU_zTg','transaction',202,X'7B7D',NULL,'',1795000000000010);
INSERT INTO attempt VALUES('depot-2',1,'jti-depot-2',1795000000,'exstor-2026-11',1795000000000024,1,'eyJhbGciOiJFUzI1NiIsImtpZCI6ImV4c3Rvci0yMDI2LTExIiwidHlwIjoidCIsImlhdCI6MTc5NTAwMDAwMCwianRpIjoianRpLWRlcG90LTIiLCJhdWQiOiJhIiwiY3JpdCI6WyJpYXQiLCJqdGkiLCJhdWQiXX0..2amTvdXbWwLWuGnJeWz4BYMbuk48SgTZXfRWk48e76mhxiMR2HmUt2_cpkouDMNIamT051J7NOS-b3VvhX8wmw','transaction',202,X'7B7D',NULL,'',1795000000000026);
INSERT INTO attempt VALUES('hams-bess-1',1,'jti-hams-bess-1',1795000000,'exstor-2026-11',1795000000000003,1,'eyJhbGciOiJFUzI1NiIsImtpZCI6ImV4c3Rvci0yMDI2LTExIiwidHlwIjoidCIsImlhdCI6MTc5NTAwMDAwMCwianRpIjoianRpLWhhbXMtYmVzcy0xIiwiYXVkIjoiYSIsImNyaXQiOlsiaWF0IiwianRpIiwiYXVkIl19..x1ty9yD-rZa-pqTLdCa3Ds8-AMlJHs3_tOhCXvmXRQAY8sb7iJECG5hfAyVLXYxaDST3GcSwXQqpUgk366TCEw','transaction',202,X'7B7D',NULL,'',1795000000000005);
INSERT INTO attempt VALUES('hams-bess-3',1,'jti-hams-bess-3',1795000000,'exstor-2026-11',1795000000000019,1,'eyJhbGciOiJFUzI1NiIsImtpZCI6ImV4c3Rvci0yMDI2LTExIiwidHlwIjoidCIsImlhdCI6MTc5NTAwMDAwMCwianRpIjoianRpLWhhbXMtYmVzcy0zIiwiYXVkIjoiYSIsImNyaXQiOlsiaWF0IiwianRpIiwiYXVkIl19..tfV41MXO4VvFwW3fJOW9dsh9tZWNscVRTOHgxYfTp4P8xe0RBjmeZgGgKP9Ogbofmj4AnI0GMZSQ5cvKalQ3vQ','transaction',202,X'7B7D',NULL,'',1795000000000021);
INSERT INTO attempt VALUES('s2',1,'jti-s2',1795000000,'exstor-2026-11',1795000000000013,1,'eyJhbGciOiJFUzI1NiIsImtpZCI6ImV4c3Rvci0yMDI2LTExIiwidHlwIjoidCIsImlhdCI6MTc5NTAwMDAwMCwianRpIjoianRpLXMyIiwiYXVkIjoiYSIsImNyaXQiOlsiaWF0IiwianRpIiwiYXVkIl19..YTNbMGcV3PT68-VLKHPSHYFa6m-cUJ_pazqiCEzN8KrFAKHIPP2kFHuFWwgblFU3QEFHPTyVoJGaEJ596bt0yw','transaction',202,X'7B7D',NULL,'',1795000000000015);
INSERT INTO attempt VALUES('s4',1,'jti-s4',1795000000,'exstor-2026-11',1795000000000030,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL);

-- Table  audit
DROP TABLE IF EXISTS audit;
CREATE TABLE audit (
    id INTEGER NOT NULL PRIMARY KEY,
    number INTEGER NOT NULL CHECK (number >= 1),
    at INTEGER NOT NULL,
    environment TEXT NOT NULL,
    participant TEXT NOT NULL,
    message_id TEXT,
    submission_id TEXT,
    actor TEXT NOT NULL,
    event TEXT NOT NULL,
    from_state TEXT,
    to_state TEXT,
    detail TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    exhibits TEXT,
    link TEXT NOT NULL
) STRICT;
INSERT INTO audit VALUES(1,1,1795000000000003,'test','exstor','dbfc171d-1f75-5659-8644-bdd4f12e170d',NULL,'gateway','valid','received','accepted','',1,'{"exhibits":{"raw":"b413f47d13ee2fe6c845b2ee141af81de858df4ec549a58b7970bb96645bc8d2","content":"bf9af628c72f78c22981d5abbfca3903f761f85a2bcb7015316bb3eba3d0a775"},"facts":{"lane":"test/exstor/hams-bess/battery","kind":"assets","key":"plc:1.1","rows":3,"revision":"r1"}}','d124cb8cd624be55bd46823e9e4a31bb60dd21db2a8e62814200c6ecfce2c50e');
INSERT INTO audit VALUES(2,2,1795000000000003,'test','exstor','dbfc171d-1f75-5659-8644-bdd4f12e170d','hams-bess-1','gateway','taken','accepted','sending','',1,'{"exhibits":{"body":"9f37fb947d2906bba3f70a5cb7ee778cabd5340c4e1b2e4ef94946d272a96b7e"},"facts":{"attempt":1,"jti":"jti-hams-bess-1","iat":1795000000,"keyId":"exstor-2026-11"}}','8c2cf2c5ba1eb382fda4f61317e63fb408869ed65b8f023ccfdc8d22c54f5b42');
INSERT INTO audit VALUES(3,3,1795000000000005,'test','exstor','dbfc171d-1f75-5659-8644-bdd4f12e170d','hams-bess-1','gateway','transaction','sending','awaiting','',1,'{"exhibits":{"signature":"3dcc22cb911c87f2a4e8b79cf6f459400fc325919ec3f775ff20432a4f29304e","answer":"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},"facts":{"attempt":1,"status":202,"sentAt":1795000000000002}}','cd7bb133dfa7c0b7374df0834553d4ef1691958a4f26070e1b19ab4f0eb64325');
INSERT INTO audit VALUES(4,4,1795000000000006,'test','exstor','dbfc171d-1f75-5659-8644-bdd4f12e170d','hams-bess-1','smp','success','awaiting','completed','callback c-hams-bess-1',1,'{"exhibits":{"callback":"f994e5ede436f75926f7565857473d1252e624a133423f64307b5df9c2735aca","callbackSignature":"e736dc45e008075f1cddb42e7be5a100c2fca7cb4a113c68bf5b464876938478"},"facts":{"issuer":"smp","jti":"c-hams-bess-1"}}','4f618964c29c1cc22d6a708620ed2bc9f2ccaf764ce3d2363ea27f02436b0c9a');
INSERT INTO audit VALUES(5,5,1795000000000007,'test','exstor','dbfc171d-1f75-5659-8644-bdd4f12e170d',NULL,'gateway','relay_delivered',NULL,NULL,'',1,'{"exhibits":{"written":"f2eb5d06b5c3ffef5ab408ce87463b6c38fdcc337bb9689d57da3913234bb856"},"facts":{"connection":"plc","of":"completed"}}','88ef90ae2bb114d6901c2cd67b27c52c72517ecd50c9e1e1a400c298f0c54413');
INSERT INTO audit VALUES(6,1,1795000000000008,'test','exflex','c8fefe45-6c11-5b6a-bf1f-85f9e75e86e3',NULL,'gateway','valid','received','accepted','',1,'{"exhibits":{"raw":"b413f47d13ee2fe6c845b2ee141af81de858df4ec549a58b7970bb96645bc8d2","content":"bf9af628c72f78c22981d5abbfca3903f761f85a2bcb7015316bb3eba3d0a775"},"facts":{"lane":"test/exflex/depot/chargers","kind":"assets","key":"plc:1.1","rows":3,"revision":"r1"}}','b1c8bbe8a1a383ce780aaf148615de4130ee58775a0293b9f6192889ad4ee1dd');
INSERT INTO audit VALUES(7,2,1795000000000008,'test','exflex','c8fefe45-6c11-5b6a-bf1f-85f9e75e86e3','depot-1','gateway','taken','accepted','sending','',1,'{"exhibits":{"body":"c4b3ad289576ab12a1505e0ee95231d6a0235d79fe2e50d87622e9494d86428d"},"facts":{"attempt":1,"jti":"jti-depot-1","iat":1795000000,"keyId":"exstor-2026-11"}}','b845ef218830f7ba7a384eef36e29205c0d2d948e38258165465fbcc54dfb31e');
INSERT INTO audit VALUES(8,3,1795000000000010,'test','exflex','c8fefe45-6c11-5b6a-bf1f-85f9e75e86e3','depot-1','gateway','transaction','sending','awaiting','',1,'{"exhibits":{"signature":"51dabb8706608740abf232f1bf314eae86432c1a98fd315078ef10c1ac23ba6a","answer":"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},"facts":{"attempt":1,"status":202,"sentAt":1795000000000002}}','aba87e69ad2403149ea53303e5c77df5a5750f391dd52b22cb2bdd7b7abbe79e');
INSERT INTO audit VALUES(9,4,1795000000000011,'test','exflex','c8fefe45-6c11-5b6a-bf1f-85f9e75e86e3','depot-1','smp','success','awaiting','completed','callback c-depot-1',1,'{"exhibits":{"callback":"13561eac137ca78eb2f9599fa247344ec894b930c45b14cea09a471beb249274","callbackSignature":"fe779a482d8a637ad74343771d25625a724c2037d3c726c16111459f21479e2d"},"facts":{"issuer":"smp","jti":"c-depot-1"}}','ffeadce52093c2618c04b528a7da291ed44adbf7aa2332763b5b5e5046c4711d');
INSERT INTO audit VALUES(10,5,1795000000000012,'test','exflex','c8fefe45-6c11-5b6a-bf1f-85f9e75e86e3',NULL,'gateway','relay_delivered',NULL,NULL,'',1,'{"exhibits":{"written":"f2eb5d06b5c3ffef5ab408ce87463b6c38fdcc337bb9689d57da3913234bb856"},"facts":{"connection":"plc","of":"completed"}}','40c68a4dc6ad649510dd9968b8e8c3e046cc306453c7281e6843438c8005d21d');
INSERT INTO audit VALUES(11,6,1795000000000013,'test','exstor','c8db3480-981d-5486-91b2-38e6db6a1142',NULL,'gateway','valid','received','accepted','',1,'{"exhibits":{"raw":"b413f47d13ee2fe6c845b2ee141af81de858df4ec549a58b7970bb96645bc8d2","content":"bf9af628c72f78c22981d5abbfca3903f761f85a2bcb7015316bb3eba3d0a775"},"facts":{"lane":"test/exstor/hams-bess/battery","kind":"assets","key":"plc:1.2","rows":3,"revision":"r1"}}','b5728245d7fffe0e7c2e6e096bfa31d966e8ffa8041ab1a9264ce1dc4cf2a005');
INSERT INTO audit VALUES(12,7,1795000000000013,'test','exstor','c8db3480-981d-5486-91b2-38e6db6a1142','s2','gateway','taken','accepted','sending','',1,'{"exhibits":{"body":"cb75240e123ec75f9af7748a8c4fb3aed264a7ad891401d2f1d84a26cf4a336c"},"facts":{"attempt":1,"jti":"jti-s2","iat":1795000000,"keyId":"exstor-2026-11"}}','cb27eee23b73637e4adca6faccac66718bf9b2e515411229fc0d7801913daac7');
INSERT INTO audit VALUES(13,8,1795000000000015,'test','exstor','c8db3480-981d-5486-91b2-38e6db6a1142','s2','gateway','transaction','sending','awaiting','',1,'{"exhibits":{"signature":"2ecdd4892d324626b761a420742a41d787b482dd0e31173fd72ec0af974c4a39","answer":"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},"facts":{"attempt":1,"status":202,"sentAt":1795000000000002}}','79d03106c3bdef56a25dc41f78480391fa3fe2b1e2841db0ca694d0ec8a24332');
INSERT INTO audit VALUES(14,9,1795000000000016,'test','exstor','c8db3480-981d-5486-91b2-38e6db6a1142','s2','gateway','failure','awaiting','failed','asked',1,'{"exhibits":{"request":"fbba43daf085a1536378225e6ac789fad07968317307d5ac48ec5513af929a72","requestSignature":"27689027ae440a5eff755002b20370c86e9028a78a6450162c01a6b282b7faf6","reply":"272c7e957fe854951765b8137dc4cdab8aa715f45c165e2c9df52c10fb8074e1"},"facts":{"status":200,"url":"https://smp.example/status"}}','7eb7633583f45fa5f03c748541a944fcbc79886d9caef2c69fc4381e6d12b7e8');
INSERT INTO audit VALUES(15,10,1795000000000019,'test','exstor','d710a225-f806-543a-8a8f-932957264fd7',NULL,'gateway','valid','received','accepted','',1,'{"exhibits":{"raw":"b413f47d13ee2fe6c845b2ee141af81de858df4ec549a58b7970bb96645bc8d2","content":"bf9af628c72f78c22981d5abbfca3903f761f85a2bcb7015316bb3eba3d0a775"},"facts":{"lane":"test/exstor/hams-bess/battery","kind":"assets","key":"plc:1.3","rows":3,"revision":"r1"}}','6d8a10cc2d102e389abc16be7c2b61cb50b200a18ae8f0d35b1ffc11816e380b');
INSERT INTO audit VALUES(16,11,1795000000000019,'test','exstor','d710a225-f806-543a-8a8f-932957264fd7','hams-bess-3','gateway','taken','accepted','sending','',1,'{"exhibits":{"body":"4858df6cfb8e4c4702826c97a9c3ef73ddc7d9a43e44a04e63e3a0323e1bfba7"},"facts":{"attempt":1,"jti":"jti-hams-bess-3","iat":1795000000,"keyId":"exstor-2026-11"}}','e2dca66f98514c4c31c0981a9b2a3575ad32e5869d04a7bb8aa34d12dfb6e7c3');
INSERT INTO audit VALUES(17,12,1795000000000021,'test','exstor','d710a225-f806-543a-8a8f-932957264fd7','hams-bess-3','gateway','transaction','sending','awaiting','',1,'{"exhibits":{"signature":"6f0cbd1715e8020e2a7cc74315b0dd75ce209d0fef58787e86180081d84aa7e2","answer":"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},"facts":{"attempt":1,"status":202,"sentAt":1795000000000002}}','4cc0c2172ab7b8252fb36fa3043933e9c6b34c8a1b519a9d171b5c0b94221592');
INSERT INTO audit VALUES(18,13,1795000000000022,'test','exstor','d710a225-f806-543a-8a8f-932957264fd7','hams-bess-3','smp','success','awaiting','completed','callback c-hams-bess-3',1,'{"exhibits":{"callback":"14d5e8d0863517c5e7a2abac03c9fc1bc9709f05fb33abf8ac86366aa2607b09","callbackSignature":"59913cd006d19fa251dd97ba69a970e9c2f285bb0675a13b0189a328b5954e93"},"facts":{"issuer":"smp","jti":"c-hams-bess-3"}}','8fb8e931e432c51afff393de0daf1f982416086e140ffa2211831c934450888d');
INSERT INTO audit VALUES(19,14,1795000000000023,'test','exstor','c8db3480-981d-5486-91b2-38e6db6a1142',NULL,'gateway','relay_delivered',NULL,NULL,'',1,'{"exhibits":{"written":"f2eb5d06b5c3ffef5ab408ce87463b6c38fdcc337bb9689d57da3913234bb856"},"facts":{"connection":"plc","of":"failed"}}','72973f90272c049b04bce74682b9711f1183c48086d7b30351a2bcc4d2b39060');
INSERT INTO audit VALUES(20,6,1795000000000024,'test','exflex','8c37db44-0a99-5dfe-b8a2-e84d0413c203',NULL,'gateway','valid','received','accepted','',1,'{"exhibits":{"raw":"b413f47d13ee2fe6c845b2ee141af81de858df4ec549a58b7970bb96645bc8d2","content":"bf9af628c72f78c22981d5abbfca3903f761f85a2bcb7015316bb3eba3d0a775"},"facts":{"lane":"test/exflex/depot/chargers","kind":"assets","key":"plc:1.2","rows":3,"revision":"r1"}}','724d26a5f027f9f683eea4b47e4ef9174cbdd8741a66dd8bd619bbdee33ccba0');
INSERT INTO audit VALUES(21,7,1795000000000024,'test','exflex','8c37db44-0a99-5dfe-b8a2-e84d0413c203','depot-2','gateway','taken','accepted','sending','',1,'{"exhibits":{"body":"9806e1e2ac12ac206b4e144c209c8333088a8166e009548deee85b6a00cfbab6"},"facts":{"attempt":1,"jti":"jti-depot-2","iat":1795000000,"keyId":"exstor-2026-11"}}','3b9513aea73bd951a416e936d588255097417ce9466947529381a153bceae6de');
INSERT INTO audit VALUES(22,8,1795000000000026,'test','exflex','8c37db44-0a99-5dfe-b8a2-e84d0413c203','depot-2','gateway','transaction','sending','awaiting','',1,'{"exhibits":{"signature":"9674ee43aa11708ba78d769bb619eff8e026f35a633dcbce8b79952df62e526e","answer":"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},"facts":{"attempt":1,"status":202,"sentAt":1795000000000002}}','c1343a9a79e4e42faf3f9d6efcbcd26c20dd021bf2b637631bb352db9f4d7760');
INSERT INTO audit VALUES(23,9,1795000000000027,'test','exflex','8c37db44-0a99-5dfe-b8a2-e84d0413c203','depot-2','smp','success','awaiting','completed','callback c-depot-2',1,'{"exhibits":{"callback":"17be086c9b4322b954bc61ce67478be7ce572954c909ceaac03e2c240c03797f","callbackSignature":"3a9262cc8312716f8bbcef997998a47fed71f90b84552d2fa528de958049aee5"},"facts":{"issuer":"smp","jti":"c-depot-2"}}','c808eb3127f4f6e1dee33a5bdf7f3497ec028c5bd5fd5e9950cc4752afaeb098');
INSERT INTO audit VALUES(24,10,1795000000000028,'test','exflex','8c37db44-0a99-5dfe-b8a2-e84d0413c203',NULL,'gateway','relay_delivered',NULL,NULL,'',1,'{"exhibits":{"written":"f2eb5d06b5c3ffef5ab408ce87463b6c38fdcc337bb9689d57da3913234bb856"},"facts":{"connection":"plc","of":"completed"}}','cccbc97446e28e0f6761d9e5c15cd0387362643e5b01aeb12aa3cc55d189a4c0');
INSERT INTO audit VALUES(25,15,1795000000000030,'test','exstor','21cffd73-a251-5972-bc6e-1fc2dea1eb4f',NULL,'gateway','valid','received','accepted','',1,'{"exhibits":{"raw":"b413f47d13ee2fe6c845b2ee141af81de858df4ec549a58b7970bb96645bc8d2","content":"bf9af628c72f78c22981d5abbfca3903f761f85a2bcb7015316bb3eba3d0a775"},"facts":{"lane":"test/exstor/hams-bess/battery","kind":"assets","key":"plc:1.4","rows":3,"revision":"r1"}}','0aa5cd46e0be600c75a3efb3fe395609e569ee013ae0cabd03cf87ab402d6758');
INSERT INTO audit VALUES(26,16,1795000000000030,'test','exstor','21cffd73-a251-5972-bc6e-1fc2dea1eb4f','s4','gateway','taken','accepted','sending','',1,'{"exhibits":{"body":"de8497e53b3163d227448d3c1cda70423067fb339e7531b9f14a3cefe670096f"},"facts":{"attempt":1,"jti":"jti-s4","iat":1795000000,"keyId":"exstor-2026-11"}}','11da2251494d06edcb5c559a0145e13d6bbc30f9eb3676df60d0007b8af06d2e');
-- Triggers and indices on  audit
CREATE TRIGGER audit_complete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit only grows'); END;
CREATE INDEX audit_message ON audit (message_id) WHERE message_id IS NOT NULL;
CREATE TRIGGER audit_unchanged BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit only grows'); END;

-- Table  callback
DROP TABLE IF EXISTS callback;
CREATE TABLE callback (
    environment TEXT NOT NULL CHECK (environment IN ('live', 'test')),
    issuer TEXT NOT NULL,
    jti TEXT NOT NULL,
    participant TEXT NOT NULL,
    body BLOB NOT NULL,
    signature TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    hops TEXT NOT NULL,
    disposition TEXT NOT NULL
        CHECK (disposition IN ('applied', 'repeated', 'conflict', 'orphan', 'other', 'quarantined')),
    note TEXT NOT NULL,
    transaction_id TEXT,
    named_submission TEXT,
    verdict TEXT,
    submission_id TEXT,
    message_id TEXT,
    PRIMARY KEY (environment, issuer, jti)
) STRICT;
INSERT INTO callback VALUES('test','smp','c-hams-bess-1','exstor',X'7B227472616E73616374696F6E4964223A2254582D68616D732D626573732D31227D','eyJhbGciOiJFUzI1NiIsImtpZCI6InNtcC0xIiwidHlwIjoidCIsImlhdCI6MTc5NTAwMDAwMCwianRpIjoiYy1oYW1zLWJlc3MtMSIsImF1ZCI6ImEiLCJjcml0IjpbImlhdCIsImp0aSIsImF1ZCJdfQ..JXKB6H-tfhXqhK8Xenj_beMRe8jZ5RiheesdxyBmgJLmEtZ6mozU5QDV0WWcG9kQr9_AUon1g15WnYVlRp8jWg',1795000000000000,'{"called_back":1795000000000004,"verified":1795000000000005}','applied','','TX-hams-bess-1',NULL,'["success","Success",[],[]]','hams-bess-1','dbfc171d-1f75-5659-8644-bdd4f12e170d');
INSERT INTO callback VALUES('test','smp','c-depot-1','exflex',X'7B227472616E73616374696F6E4964223A2254582D6465706F742D31227D','eyJhbGciOiJFUzI1NiIsImtpZCI6InNtcC0xIiwidHlwIjoidCIsImlhdCI6MTc5NTAwMDAwMCwianRpIjoiYy1kZXBvdC0xIiwiYXVkIjoiYSIsImNyaXQiOlsiaWF0IiwianRpIiwiYXVkIl19..qhTAvhU6mrT5X71ZF-YhLvQesUPFnlhxjo7UIpJCLSY8bqMAQG-5pysBKBUNzEtZbb7OMHqKxcg_FeUIqDOueQ',1795000000000000,'{"called_back":1795000000000004,"verified":1795000000000005}','applied','','TX-depot-1',NULL,'["success","Success",[],[]]','depot-1','c8fefe45-6c11-5b6a-bf1f-85f9e75e86e3');
INSERT INTO callback VALUES('test','smp','c-hams-bess-3','exstor',X'7B227472616E73616374696F6E4964223A2254582D68616D732D626573732D33227D','eyJhbGciOiJFUzI1NiIsImtpZCI6InNtcC0xIiwidHlwIjoidCIsImlhdCI6MTc5NTAwMDAwMCwianRpIjoiYy1oYW1zLWJlc3MtMyIsImF1ZCI6ImEiLCJjcml0IjpbImlhdCIsImp0aSIsImF1ZCJdfQ..3--uYLmbWuO-_GhWk5puCSzSWEdhkD6CUyY8oFIcxc_Bh2M1rOjMmCHYOK3PfJoyyxEzMasNa4vDqz5L_JbC9A',1795000000000000,'{"called_back":1795000000000004,"verified":1795000000000005}','applied','','TX-hams-bess-3',NULL,'["success","Success",[],[]]','hams-bess-3','d710a225-f806-543a-8a8f-932957264fd7');
INSERT INTO callback VALUES('test','smp','c-depot-2','exflex',X'7B227472616E73616374696F6E4964223A2254582D6465706F742D32227D','eyJhbGciOiJFUzI1NiIsImtpZCI6InNtcC0xIiwidHlwIjoidCIsImlhdCI6MTc5NTAwMDAwMCwianRpIjoiYy1kZXBvdC0yIiwiYXVkIjoiYSIsImNyaXQiOlsiaWF0IiwianRpIiwiYXVkIl19..0VdpOaJ6p0RYD9RkZ3_nOk9OJIHJtm0r5D83154RPBJltdo3niH0vQUQwf2SvKqBbkMU8XHtFlByRSfgxm5wRA',1795000000000000,'{"called_back":1795000000000004,"verified":1795000000000005}','applied','','TX-depot-2',NULL,'["success","Success",[],[]]','depot-2','8c37db44-0a99-5dfe-b8a2-e84d0413c203');
-- Triggers and indices on  callback
CREATE INDEX callback_orphan ON callback (environment, participant, received_at) WHERE disposition = 'orphan';
CREATE INDEX callback_submission ON callback (submission_id) WHERE submission_id IS NOT NULL;

-- Table  callback_relay
DROP TABLE IF EXISTS callback_relay;
CREATE TABLE callback_relay (
    id INTEGER NOT NULL PRIMARY KEY,
    environment TEXT NOT NULL,
    issuer TEXT NOT NULL,
    jti TEXT NOT NULL,
    site TEXT NOT NULL,
    connection TEXT NOT NULL,
    writes TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'rejected')),
    problem TEXT,
    created_at INTEGER NOT NULL,
    finished_at INTEGER,
    FOREIGN KEY (environment, issuer, jti) REFERENCES callback (environment, issuer, jti)
) STRICT;
-- Triggers and indices on  callback_relay
CREATE INDEX callback_relay_pending ON callback_relay (site, connection, id) WHERE state = 'pending';

-- Table  chain
DROP TABLE IF EXISTS chain;
CREATE TABLE chain (
    environment TEXT NOT NULL,
    participant TEXT NOT NULL,
    length INTEGER NOT NULL CHECK (length >= 1),
    link TEXT NOT NULL,
    PRIMARY KEY (environment, participant)
) STRICT, WITHOUT ROWID;
INSERT INTO chain VALUES('test','exflex',10,'cccbc97446e28e0f6761d9e5c15cd0387362643e5b01aeb12aa3cc55d189a4c0');
INSERT INTO chain VALUES('test','exstor',16,'11da2251494d06edcb5c559a0145e13d6bbc30f9eb3676df60d0007b8af06d2e');

-- Table  checkpoint
DROP TABLE IF EXISTS checkpoint;
CREATE TABLE checkpoint (
    environment TEXT NOT NULL,
    participant TEXT NOT NULL,
    number INTEGER NOT NULL CHECK (number >= 1),
    link TEXT NOT NULL,
    at INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    token TEXT NOT NULL,
    PRIMARY KEY (environment, participant, number)
) STRICT, WITHOUT ROWID;
INSERT INTO checkpoint VALUES('test','exflex',5,'40c68a4dc6ad649510dd9968b8e8c3e046cc306453c7281e6843438c8005d21d',7,'exstor-2026-11','eyJhbGciOiJFUzI1NiIsImtpZCI6ImV4c3Rvci0yMDI2LTExIiwidHlwIjoic21wLWV2aWRlbmNlK2p3cyJ9.eyJmb3JtYXQiOiJzbXAtZ2F0ZXdheSBjaGVja3BvaW50IDEiLCJlbnZpcm9ubWVudCI6InRlc3QiLCJwYXJ0aWNpcGFudCI6ImV4ZmxleCIsImVudHJpZXMiOjUsImxpbmsiOiI0MGM2OGE0ZGM2YWQ2NDk1MTBkZDk5NjhiOGU4YzNlMDQ2Y2MzMDY0NTNjNzI4MWU2ODQzNDM4YzgwMDVkMjFkIiwiYXQiOjd9.hGZmV6dRsT6lZg-csWabCWb8gv0Ywnc_MFcLMelYLP4Onx0gDO_vIi4zRj6vyAX6iwG8_dEoORwfty1JDyMTGQ');
INSERT INTO checkpoint VALUES('test','exstor',9,'7eb7633583f45fa5f03c748541a944fcbc79886d9caef2c69fc4381e6d12b7e8',7,'exstor-2026-11','eyJhbGciOiJFUzI1NiIsImtpZCI6ImV4c3Rvci0yMDI2LTExIiwidHlwIjoic21wLWV2aWRlbmNlK2p3cyJ9.eyJmb3JtYXQiOiJzbXAtZ2F0ZXdheSBjaGVja3BvaW50IDEiLCJlbnZpcm9ubWVudCI6InRlc3QiLCJwYXJ0aWNpcGFudCI6ImV4c3RvciIsImVudHJpZXMiOjksImxpbmsiOiI3ZWI3NjMzNTgzZjQ1ZmE1ZjAzYzc0ODU0MWE5NDRmY2JjNzk4ODZkOWNhZWYyYzY5ZmM0MzgxZTZkMTJiN2U4IiwiYXQiOjd9.4dzsQC4LzhdujbaNg4jjqjDEZJniCJ8D5SY59GJJdXmSZwX2F101geVGr4FjkCHO5UJWaIIOkVSdaEd31vWjzg');
INSERT INTO checkpoint VALUES('test','exstor',14,'72973f90272c049b04bce74682b9711f1183c48086d7b30351a2bcc4d2b39060',7,'exstor-2026-11','eyJhbGciOiJFUzI1NiIsImtpZCI6ImV4c3Rvci0yMDI2LTExIiwidHlwIjoic21wLWV2aWRlbmNlK2p3cyJ9.eyJmb3JtYXQiOiJzbXAtZ2F0ZXdheSBjaGVja3BvaW50IDEiLCJlbnZpcm9ubWVudCI6InRlc3QiLCJwYXJ0aWNpcGFudCI6ImV4c3RvciIsImVudHJpZXMiOjE0LCJsaW5rIjoiNzI5NzNmOTAyNzJjMDQ5YjA0YmNlNzQ2ODJiOTcxMWYxMTgzYzQ4MDg2ZDdiMzAzNTFhMmJjYzRkMmIzOTA2MCIsImF0Ijo3fQ.VpRg_84NzFre_9J1em-WYAw76gbgIm7V7MkqJvkigNXtfgEvpZ8evhJg0ALTt0DK0HBiS1WfuUpLQybs3toLFg');

-- Table  claim
DROP TABLE IF EXISTS claim;
CREATE TABLE claim (
    message_id TEXT NOT NULL REFERENCES message (id) DEFERRABLE INITIALLY DEFERRED,
    name TEXT NOT NULL,
    environment TEXT NOT NULL,
    participant TEXT NOT NULL,
    kind TEXT NOT NULL,
    line INTEGER NOT NULL CHECK (line >= 0),
    gsp_group TEXT,
    smp_id TEXT,
    settled INTEGER NOT NULL DEFAULT 0 CHECK (settled IN (0, 1)),
    PRIMARY KEY (message_id, name)
) STRICT, WITHOUT ROWID;
-- Triggers and indices on  claim
CREATE INDEX claim_name ON claim (name, participant, environment, kind);

-- Table  exhibit
DROP TABLE IF EXISTS exhibit;
CREATE TABLE exhibit (
    message_id TEXT NOT NULL REFERENCES message (id),
    digest TEXT NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (message_id, digest)
) STRICT, WITHOUT ROWID;
INSERT INTO exhibit VALUES('8c37db44-0a99-5dfe-b8a2-e84d0413c203','f2eb5d06b5c3ffef5ab408ce87463b6c38fdcc337bb9689d57da3913234bb856',X'5B7B22706F696E74223A22736D705F7374617465222C2276616C7565223A327D5D');
INSERT INTO exhibit VALUES('c8db3480-981d-5486-91b2-38e6db6a1142','272c7e957fe854951765b8137dc4cdab8aa715f45c165e2c9df52c10fb8074e1',X'7B22737461747573223A224661696C6564227D');
INSERT INTO exhibit VALUES('c8db3480-981d-5486-91b2-38e6db6a1142','27689027ae440a5eff755002b20370c86e9028a78a6450162c01a6b282b7faf6',X'65794A68624763694F694A46557A49314E694973496D74705A434936496D563463335276636930794D4449324C5445784969776964486C77496A6F6964434973496D6C68644349364D5463354E5441774D4441774D437769616E5270496A6F6963534973496D46315A434936496D45694C434A6A636D6C30496A7062496D6C6864434973496D703061534973496D46315A434A6466512E2E5079315435394A426C4741597A583552742D3068754278382D53474266767361536F447756395F75484F49765475375564724E6A507377596C377874554D495263466F694376536A4D7977792D4E77334D716A613977');
INSERT INTO exhibit VALUES('c8db3480-981d-5486-91b2-38e6db6a1142','f2eb5d06b5c3ffef5ab408ce87463b6c38fdcc337bb9689d57da3913234bb856',X'5B7B22706F696E74223A22736D705F7374617465222C2276616C7565223A327D5D');
INSERT INTO exhibit VALUES('c8db3480-981d-5486-91b2-38e6db6a1142','fbba43daf085a1536378225e6ac789fad07968317307d5ac48ec5513af929a72',X'7B227472616E73616374696F6E4964223A225458227D');
INSERT INTO exhibit VALUES('c8fefe45-6c11-5b6a-bf1f-85f9e75e86e3','f2eb5d06b5c3ffef5ab408ce87463b6c38fdcc337bb9689d57da3913234bb856',X'5B7B22706F696E74223A22736D705F7374617465222C2276616C7565223A327D5D');
INSERT INTO exhibit VALUES('dbfc171d-1f75-5659-8644-bdd4f12e170d','f2eb5d06b5c3ffef5ab408ce87463b6c38fdcc337bb9689d57da3913234bb856',X'5B7B22706F696E74223A22736D705F7374617465222C2276616C7565223A327D5D');

-- Table  hop
DROP TABLE IF EXISTS hop;
CREATE TABLE hop (
    message_id TEXT NOT NULL,
    hop TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (message_id, hop)
) STRICT, WITHOUT ROWID;
INSERT INTO hop VALUES('21cffd73-a251-5972-bc6e-1fc2dea1eb4f','committed',1795000000000031);
INSERT INTO hop VALUES('21cffd73-a251-5972-bc6e-1fc2dea1eb4f','seen',1794999999999998);
INSERT INTO hop VALUES('21cffd73-a251-5972-bc6e-1fc2dea1eb4f','snapshot',1794999999999999);
INSERT INTO hop VALUES('8c37db44-0a99-5dfe-b8a2-e84d0413c203','answered',1795000000000003);
INSERT INTO hop VALUES('8c37db44-0a99-5dfe-b8a2-e84d0413c203','called_back',1795000000000004);
INSERT INTO hop VALUES('8c37db44-0a99-5dfe-b8a2-e84d0413c203','committed',1795000000000025);
INSERT INTO hop VALUES('8c37db44-0a99-5dfe-b8a2-e84d0413c203','read_back',9);
INSERT INTO hop VALUES('8c37db44-0a99-5dfe-b8a2-e84d0413c203','seen',1794999999999998);
INSERT INTO hop VALUES('8c37db44-0a99-5dfe-b8a2-e84d0413c203','sent',1795000000000002);
INSERT INTO hop VALUES('8c37db44-0a99-5dfe-b8a2-e84d0413c203','settled',1795000000000027);
INSERT INTO hop VALUES('8c37db44-0a99-5dfe-b8a2-e84d0413c203','signed',1795000000000001);
INSERT INTO hop VALUES('8c37db44-0a99-5dfe-b8a2-e84d0413c203','snapshot',1794999999999999);
INSERT INTO hop VALUES('8c37db44-0a99-5dfe-b8a2-e84d0413c203','verified',1795000000000005);
INSERT INTO hop VALUES('c8db3480-981d-5486-91b2-38e6db6a1142','answered',1795000000000003);
INSERT INTO hop VALUES('c8db3480-981d-5486-91b2-38e6db6a1142','committed',1795000000000014);
INSERT INTO hop VALUES('c8db3480-981d-5486-91b2-38e6db6a1142','read_back',9);
INSERT INTO hop VALUES('c8db3480-981d-5486-91b2-38e6db6a1142','seen',1794999999999998);
INSERT INTO hop VALUES('c8db3480-981d-5486-91b2-38e6db6a1142','sent',1795000000000002);
INSERT INTO hop VALUES('c8db3480-981d-5486-91b2-38e6db6a1142','settled',1795000000000016);
INSERT INTO hop VALUES('c8db3480-981d-5486-91b2-38e6db6a1142','signed',1795000000000001);
INSERT INTO hop VALUES('c8db3480-981d-5486-91b2-38e6db6a1142','snapshot',1794999999999999);
INSERT INTO hop VALUES('c8fefe45-6c11-5b6a-bf1f-85f9e75e86e3','answered',1795000000000003);
INSERT INTO hop VALUES('c8fefe45-6c11-5b6a-bf1f-85f9e75e86e3','called_back',1795000000000004);
INSERT INTO hop VALUES('c8fefe45-6c11-5b6a-bf1f-85f9e75e86e3','committed',1795000000000009);
INSERT INTO hop VALUES('c8fefe45-6c11-5b6a-bf1f-85f9e75e86e3','read_back',9);
INSERT INTO hop VALUES('c8fefe45-6c11-5b6a-bf1f-85f9e75e86e3','seen',1794999999999998);
INSERT INTO hop VALUES('c8fefe45-6c11-5b6a-bf1f-85f9e75e86e3','sent',1795000000000002);
INSERT INTO hop VALUES('c8fefe45-6c11-5b6a-bf1f-85f9e75e86e3','settled',1795000000000011);
INSERT INTO hop VALUES('c8fefe45-6c11-5b6a-bf1f-85f9e75e86e3','signed',1795000000000001);
INSERT INTO hop VALUES('c8fefe45-6c11-5b6a-bf1f-85f9e75e86e3','snapshot',1794999999999999);
INSERT INTO hop VALUES('c8fefe45-6c11-5b6a-bf1f-85f9e75e86e3','verified',1795000000000005);
INSERT INTO hop VALUES('d710a225-f806-543a-8a8f-932957264fd7','answered',1795000000000003);
INSERT INTO hop VALUES('d710a225-f806-543a-8a8f-932957264fd7','called_back',1795000000000004);
INSERT INTO hop VALUES('d710a225-f806-543a-8a8f-932957264fd7','committed',1795000000000020);
INSERT INTO hop VALUES('d710a225-f806-543a-8a8f-932957264fd7','seen',1794999999999998);
INSERT INTO hop VALUES('d710a225-f806-543a-8a8f-932957264fd7','sent',1795000000000002);
INSERT INTO hop VALUES('d710a225-f806-543a-8a8f-932957264fd7','settled',1795000000000022);
INSERT INTO hop VALUES('d710a225-f806-543a-8a8f-932957264fd7','signed',1795000000000001);
INSERT INTO hop VALUES('d710a225-f806-543a-8a8f-932957264fd7','snapshot',1794999999999999);
INSERT INTO hop VALUES('d710a225-f806-543a-8a8f-932957264fd7','verified',1795000000000005);
INSERT INTO hop VALUES('dbfc171d-1f75-5659-8644-bdd4f12e170d','answered',1795000000000003);
INSERT INTO hop VALUES('dbfc171d-1f75-5659-8644-bdd4f12e170d','called_back',1795000000000004);
INSERT INTO hop VALUES('dbfc171d-1f75-5659-8644-bdd4f12e170d','committed',1795000000000004);
INSERT INTO hop VALUES('dbfc171d-1f75-5659-8644-bdd4f12e170d','read_back',9);
INSERT INTO hop VALUES('dbfc171d-1f75-5659-8644-bdd4f12e170d','seen',1794999999999998);
INSERT INTO hop VALUES('dbfc171d-1f75-5659-8644-bdd4f12e170d','sent',1795000000000002);
INSERT INTO hop VALUES('dbfc171d-1f75-5659-8644-bdd4f12e170d','settled',1795000000000006);
INSERT INTO hop VALUES('dbfc171d-1f75-5659-8644-bdd4f12e170d','signed',1795000000000001);
INSERT INTO hop VALUES('dbfc171d-1f75-5659-8644-bdd4f12e170d','snapshot',1794999999999999);
INSERT INTO hop VALUES('dbfc171d-1f75-5659-8644-bdd4f12e170d','verified',1795000000000005);

-- Table  mailbox
DROP TABLE IF EXISTS mailbox;
CREATE TABLE mailbox (
    site TEXT NOT NULL,
    mailbox TEXT NOT NULL,
    generation INTEGER NOT NULL CHECK (generation >= 1),
    sequence INTEGER NOT NULL CHECK (sequence BETWEEN 0 AND 65535),
    crc INTEGER NOT NULL,
    result_seq INTEGER CHECK (result_seq BETWEEN 0 AND 65535),
    PRIMARY KEY (site, mailbox)
) STRICT, WITHOUT ROWID;
INSERT INTO mailbox VALUES('depot','plc',1,2,2,2);
INSERT INTO mailbox VALUES('hams-bess','plc',1,4,4,3);

-- Table  message
DROP TABLE IF EXISTS message;
CREATE TABLE message (
    number INTEGER NOT NULL PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    environment TEXT NOT NULL CHECK (environment IN ('live', 'test')),
    participant TEXT NOT NULL,
    site TEXT NOT NULL,
    name TEXT NOT NULL,
    lane TEXT NOT NULL,
    kind TEXT NOT NULL,
    intake_key TEXT NOT NULL,
    raw BLOB NOT NULL,
    content BLOB NOT NULL,
    row_count INTEGER NOT NULL CHECK (row_count >= 0),
    state TEXT NOT NULL CHECK (state IN ('refused', 'accepted', 'waiting', 'expired', 'sending', 'in_doubt', 'awaiting',
        'rejected', 'completed', 'partial', 'failed', 'escalated', 'parked')),
    rest TEXT NOT NULL CHECK (rest IN ('refused', 'accepted', 'waiting', 'expired', 'parked')),
    problems TEXT NOT NULL,
    warnings TEXT NOT NULL,
    created TEXT NOT NULL,
    rules TEXT NOT NULL,
    salvage INTEGER NOT NULL CHECK (salvage IN (0, 1)),
    revision TEXT NOT NULL,
    not_after INTEGER,
    accepted_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    transaction_id TEXT,
    followers TEXT,
    alignment TEXT,
    wait_until INTEGER,
    epoch INTEGER NOT NULL
) STRICT;
INSERT INTO message VALUES(1,'dbfc171d-1f75-5659-8644-bdd4f12e170d','test','exstor','hams-bess','battery','test/exstor/hams-bess/battery','assets','plc:1.1',X'0001',X'7B22617373657473223A5B5D7D',3,'completed','accepted','[]','[]','[]','[{"connection":"plc","on":["completed","escalated","expired","failed","parked","partial","refused","rejected"],"mailbox":"plc","sequence":1,"write":{}}]',0,'r1',NULL,1795000000000000,1795000000000006,'TX-hams-bess-1',NULL,NULL,NULL,1);
INSERT INTO message VALUES(2,'c8fefe45-6c11-5b6a-bf1f-85f9e75e86e3','test','exflex','depot','chargers','test/exflex/depot/chargers','assets','plc:1.1',X'0001',X'7B22617373657473223A5B5D7D',3,'completed','accepted','[]','[]','[]','[{"connection":"plc","on":["completed","escalated","expired","failed","parked","partial","refused","rejected"],"mailbox":"plc","sequence":1,"write":{}}]',0,'r1',NULL,1795000000000000,1795000000000011,'TX-depot-1',NULL,NULL,NULL,1);
INSERT INTO message VALUES(3,'c8db3480-981d-5486-91b2-38e6db6a1142','test','exstor','hams-bess','battery','test/exstor/hams-bess/battery','assets','plc:1.2',X'0001',X'7B22617373657473223A5B5D7D',3,'failed','accepted','[[0,"PCS 1","meterPoints[0].id","invalid_mpan","check digit"]]','[]','[]','[{"connection":"plc","on":["completed","escalated","expired","failed","parked","partial","refused","rejected"],"mailbox":"plc","sequence":2,"write":{}}]',0,'r1',NULL,1795000000000000,1795000000000016,'TX-2',NULL,NULL,NULL,1);
INSERT INTO message VALUES(4,'d710a225-f806-543a-8a8f-932957264fd7','test','exstor','hams-bess','battery','test/exstor/hams-bess/battery','assets','plc:1.3',X'0001',X'7B22617373657473223A5B5D7D',3,'completed','accepted','[]','[]','[]','[{"connection":"plc","on":["completed","escalated","expired","failed","parked","partial","refused","rejected"],"mailbox":"plc","sequence":3,"write":{}}]',0,'r1',NULL,1795000000000000,1795000000000022,'TX-hams-bess-3',NULL,NULL,NULL,1);
INSERT INTO message VALUES(5,'8c37db44-0a99-5dfe-b8a2-e84d0413c203','test','exflex','depot','chargers','test/exflex/depot/chargers','assets','plc:1.2',X'0001',X'7B22617373657473223A5B5D7D',3,'completed','accepted','[]','[]','[]','[{"connection":"plc","on":["completed","escalated","expired","failed","parked","partial","refused","rejected"],"mailbox":"plc","sequence":2,"write":{}}]',0,'r1',NULL,1795000000000000,1795000000000027,'TX-depot-2',NULL,NULL,NULL,1);
INSERT INTO message VALUES(6,'21cffd73-a251-5972-bc6e-1fc2dea1eb4f','test','exstor','hams-bess','battery','test/exstor/hams-bess/battery','assets','plc:1.4',X'0001',X'7B22617373657473223A5B5D7D',3,'sending','accepted','[]','[]','[]','[{"connection":"plc","on":["completed","escalated","expired","failed","parked","partial","refused","rejected"],"mailbox":"plc","sequence":4,"write":{}}]',0,'r1',NULL,1795000000000000,1795000000000030,NULL,NULL,NULL,NULL,1);
-- Triggers and indices on  message
CREATE INDEX message_expiring ON message (state, not_after)
    WHERE not_after IS NOT NULL AND state IN ('accepted', 'waiting');
CREATE INDEX message_state ON message (state, lane, number);
CREATE INDEX message_waiting ON message (wait_until) WHERE state = 'waiting';

-- Table  migration
DROP TABLE IF EXISTS migration;
CREATE TABLE migration (
    name TEXT NOT NULL PRIMARY KEY,
    checksum TEXT NOT NULL,
    applied_at BIGINT NOT NULL
);
INSERT INTO migration VALUES('0001_first','7a60390d8b3078e548b04756917d3f434018ea3dbd3eda03382a65237207f7f4',1795000000000001);
INSERT INTO migration VALUES('0001_guards','441e519f7b189526438538d27040d7a2cf2e855f65e6f4761311f9b0b431d1e8',1795000000000001);

-- Table  need
DROP TABLE IF EXISTS need;
CREATE TABLE need (
    message_id TEXT NOT NULL REFERENCES message (id) DEFERRABLE INITIALLY DEFERRED,
    what TEXT NOT NULL CHECK (what IN ('asset', 'lane')),
    name TEXT NOT NULL,
    environment TEXT NOT NULL,
    participant TEXT NOT NULL,
    PRIMARY KEY (message_id, what, name)
) STRICT, WITHOUT ROWID;
-- Triggers and indices on  need
CREATE INDEX need_name ON need (name, participant, environment, what);

-- Table  node
DROP TABLE IF EXISTS node;
CREATE TABLE node (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id > 0),
    epoch INTEGER NOT NULL CHECK (epoch >= 0)
) STRICT;
INSERT INTO node VALUES(1,1);

-- Table  part
DROP TABLE IF EXISTS part;
CREATE TABLE part (
    submission_id TEXT NOT NULL REFERENCES submission (id),
    message_id TEXT NOT NULL REFERENCES message (id),
    first_row INTEGER NOT NULL CHECK (first_row >= 0),
    row_count INTEGER NOT NULL CHECK (row_count >= 0),
    first_in_submission INTEGER NOT NULL CHECK (first_in_submission >= 0),
    names TEXT NOT NULL,
    fate TEXT CHECK (fate IN ('again', 'alone', 'completed', 'partial', 'failed')),
    PRIMARY KEY (submission_id, first_in_submission)
) STRICT, WITHOUT ROWID;
INSERT INTO part VALUES('depot-1','c8fefe45-6c11-5b6a-bf1f-85f9e75e86e3',0,3,0,'[]',NULL);
INSERT INTO part VALUES('depot-2','8c37db44-0a99-5dfe-b8a2-e84d0413c203',0,3,0,'[]',NULL);
INSERT INTO part VALUES('hams-bess-1','dbfc171d-1f75-5659-8644-bdd4f12e170d',0,3,0,'[]',NULL);
INSERT INTO part VALUES('hams-bess-3','d710a225-f806-543a-8a8f-932957264fd7',0,3,0,'[]',NULL);
INSERT INTO part VALUES('s2','c8db3480-981d-5486-91b2-38e6db6a1142',0,3,0,'[]',NULL);
INSERT INTO part VALUES('s4','21cffd73-a251-5972-bc6e-1fc2dea1eb4f',0,3,0,'[]',NULL);
-- Triggers and indices on  part
CREATE INDEX part_message ON part (message_id);

-- Table  public_key
DROP TABLE IF EXISTS public_key;
CREATE TABLE public_key (
    environment TEXT NOT NULL,
    owner TEXT NOT NULL,
    jwk TEXT NOT NULL,
    seen_at INTEGER NOT NULL,
    PRIMARY KEY (environment, owner, jwk)
) STRICT, WITHOUT ROWID;
INSERT INTO public_key VALUES('test','participant exflex','{"kty":"EC","crv":"P-256","x":"d3Tm6xtn_bJUxAuewHkl3GBHaGiOGjE-JQEt-R_2VsM","y":"88D7FKR-hzMGoioOaxWDYql4B-czfoc8Pn6GkFoJ4qE","kid":"exstor-2026-11","alg":"ES256","use":"sig"}',1795000000000018);
INSERT INTO public_key VALUES('test','participant exstor','{"kty":"EC","crv":"P-256","x":"d3Tm6xtn_bJUxAuewHkl3GBHaGiOGjE-JQEt-R_2VsM","y":"88D7FKR-hzMGoioOaxWDYql4B-czfoc8Pn6GkFoJ4qE","kid":"exstor-2026-11","alg":"ES256","use":"sig"}',1795000000000017);
INSERT INTO public_key VALUES('test','smp','{"kty":"EC","crv":"P-256","x":"smK_hecccv0azEfEHjUpAHt4vdDiq8BuqreKnud10XQ","y":"raYWY3F4LbFtzAoXUk0ktoAq36E6szdrS4TJn8tivj8","kid":"smp-1","alg":"ES256","use":"sig"}',1795000000000006);

-- Table  reference
DROP TABLE IF EXISTS reference;
CREATE TABLE reference (
    lane TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL,
    counter INTEGER NOT NULL CHECK (counter >= 0)
) STRICT;

-- Table  relay
DROP TABLE IF EXISTS relay;
CREATE TABLE relay (
    id INTEGER NOT NULL PRIMARY KEY,
    message_id TEXT NOT NULL REFERENCES message (id),
    participant TEXT NOT NULL,
    site TEXT NOT NULL,
    connection TEXT NOT NULL,
    rule TEXT NOT NULL,
    event TEXT NOT NULL CHECK (event IN ('refused', 'accepted', 'waiting', 'expired', 'sending', 'in_doubt', 'awaiting',
        'rejected', 'completed', 'partial', 'failed', 'escalated', 'parked')),
    result_seq INTEGER CHECK (result_seq BETWEEN 1 AND 65535),
    state TEXT NOT NULL CHECK (state IN ('pending', 'superseded', 'delivered', 'rejected')),
    problem TEXT,
    created_at INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;
INSERT INTO relay VALUES(1,'dbfc171d-1f75-5659-8644-bdd4f12e170d','exstor','hams-bess','plc','{"connection":"plc","on":["completed","escalated","expired","failed","parked","partial","refused","rejected"],"mailbox":"plc","sequence":1,"write":{}}','completed',1,'delivered',NULL,1795000000000006,1795000000000007);
INSERT INTO relay VALUES(2,'c8fefe45-6c11-5b6a-bf1f-85f9e75e86e3','exflex','depot','plc','{"connection":"plc","on":["completed","escalated","expired","failed","parked","partial","refused","rejected"],"mailbox":"plc","sequence":1,"write":{}}','completed',1,'delivered',NULL,1795000000000011,1795000000000012);
INSERT INTO relay VALUES(3,'c8db3480-981d-5486-91b2-38e6db6a1142','exstor','hams-bess','plc','{"connection":"plc","on":["completed","escalated","expired","failed","parked","partial","refused","rejected"],"mailbox":"plc","sequence":2,"write":{}}','failed',2,'delivered',NULL,1795000000000016,1795000000000023);
INSERT INTO relay VALUES(4,'d710a225-f806-543a-8a8f-932957264fd7','exstor','hams-bess','plc','{"connection":"plc","on":["completed","escalated","expired","failed","parked","partial","refused","rejected"],"mailbox":"plc","sequence":3,"write":{}}','completed',3,'pending',NULL,1795000000000022,NULL);
INSERT INTO relay VALUES(5,'8c37db44-0a99-5dfe-b8a2-e84d0413c203','exflex','depot','plc','{"connection":"plc","on":["completed","escalated","expired","failed","parked","partial","refused","rejected"],"mailbox":"plc","sequence":2,"write":{}}','completed',2,'delivered',NULL,1795000000000027,1795000000000028);
-- Triggers and indices on  relay
CREATE INDEX relay_message ON relay (message_id);
CREATE INDEX relay_pending ON relay (site, connection, id) WHERE state = 'pending';

-- Table  sequel
DROP TABLE IF EXISTS sequel;
CREATE TABLE sequel (
    parent_id TEXT NOT NULL REFERENCES message (id),
    message TEXT NOT NULL,
    kind TEXT NOT NULL,
    site TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (parent_id, message)
) STRICT, WITHOUT ROWID;

-- Table  submission
DROP TABLE IF EXISTS submission;
CREATE TABLE submission (
    id TEXT NOT NULL PRIMARY KEY,
    environment TEXT NOT NULL CHECK (environment IN ('live', 'test')),
    participant TEXT NOT NULL,
    lane TEXT NOT NULL,
    kind TEXT NOT NULL,
    body BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('accepted', 'expired', 'sending', 'in_doubt', 'awaiting', 'rejected', 'completed',
        'partial', 'failed', 'escalated', 'parked', 'refused')),
    attempts INTEGER NOT NULL CHECK (attempts >= 1),
    transaction_id TEXT,
    first_sent_at INTEGER,
    doubt_since INTEGER,
    awaiting_since INTEGER,
    due_at INTEGER,
    polls INTEGER NOT NULL CHECK (polls >= 0),
    epoch INTEGER NOT NULL
) STRICT;
INSERT INTO submission VALUES('hams-bess-1','test','exstor','test/exstor/hams-bess/battery','assets',X'626F6479206F662068616D732D626573732D31','completed',1,'TX-hams-bess-1',1795000000000002,NULL,1795000000000005,NULL,0,1);
INSERT INTO submission VALUES('depot-1','test','exflex','test/exflex/depot/chargers','assets',X'626F6479206F66206465706F742D31','completed',1,'TX-depot-1',1795000000000002,NULL,1795000000000010,NULL,0,1);
INSERT INTO submission VALUES('s2','test','exstor','test/exstor/hams-bess/battery','assets',X'626F6479206F66207332','failed',1,'TX-2',1795000000000002,NULL,1795000000000015,NULL,0,1);
INSERT INTO submission VALUES('hams-bess-3','test','exstor','test/exstor/hams-bess/battery','assets',X'626F6479206F662068616D732D626573732D33','completed',1,'TX-hams-bess-3',1795000000000002,NULL,1795000000000021,NULL,0,1);
INSERT INTO submission VALUES('depot-2','test','exflex','test/exflex/depot/chargers','assets',X'626F6479206F66206465706F742D32','completed',1,'TX-depot-2',1795000000000002,NULL,1795000000000026,NULL,0,1);
INSERT INTO submission VALUES('s4','test','exstor','test/exstor/hams-bess/battery','assets',X'626F6479206F66207334','sending',1,NULL,NULL,NULL,NULL,NULL,0,1);
-- Triggers and indices on  submission
CREATE INDEX submission_open ON submission (participant, state, due_at)
    WHERE state IN ('sending', 'in_doubt', 'awaiting');
CREATE INDEX submission_transaction ON submission (transaction_id) WHERE transaction_id IS NOT NULL;

COMMIT TRANSACTION;
