-- Every kind of job.
-- depends: 0001_first_schema

-- migrate: apply

alter table job drop constraint job_kind_check;

alter table job add constraint job_kind_check check (
    kind in ('video-translate', 'audio-translate', 'subtitle-generate', 'subtitle-translate', 'subtitle-to-audio')
);

-- migrate: rollback

delete from job where kind <> 'video-translate';

alter table job drop constraint job_kind_check;

alter table job add constraint job_kind_check check (kind in ('video-translate'));
