-- +goose Up
ALTER TABLE profiles ADD COLUMN avatar text; -- the unguessable part of the picture's path, new at each change
CREATE UNIQUE INDEX profiles_avatar_key ON profiles (avatar) WHERE avatar IS NOT NULL;

-- The pictures, unless an object store has them. A picture that no profile names is not served; a job removes it.
CREATE TABLE avatar_pictures (
    name       text           NOT NULL, -- avatar/size
    media_type text           NOT NULL,
    content    bytea          NOT NULL,
    created_at timestamptz(3) NOT NULL DEFAULT now(),
    CONSTRAINT avatar_pictures_pkey PRIMARY KEY (name)
);
ALTER TABLE avatar_pictures ALTER COLUMN content SET STORAGE EXTERNAL; -- pictures are compressed already

-- +goose Down
DROP TABLE avatar_pictures;
DROP INDEX profiles_avatar_key;
ALTER TABLE profiles DROP COLUMN avatar;
