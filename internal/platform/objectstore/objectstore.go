// Package objectstore keeps small objects in a bucket of a store that speaks S3.
package objectstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/user-management-service/ums/internal/platform/secret"
)

// ErrNone says that there is no object of this name.
var ErrNone = errors.New("no such object")

const (
	maxObject = 4 << 20 // bytes; what we put there is far smaller
	listed    = 1000    // names that Old hands over at once
)

// Bucket is a bucket, or a part of one.
type Bucket struct {
	client *minio.Client
	name   string
	prefix string
}

// Open reads a URL of the form https://key:secret@host/bucket/prefix?region=…; it asks the store nothing yet.
func Open(address secret.Text) (*Bucket, error) {
	u, err := url.Parse(address.Reveal())
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User == nil {
		return nil, errors.New("give https://key:secret@host/bucket, with ?region= where the store needs one") // the text holds a secret
	}
	name, prefix, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	if name == "" {
		return nil, errors.New("the URL names no bucket: https://key:secret@host/bucket")
	}
	if prefix != "" {
		prefix += "/"
	}
	password, _ := u.User.Password()
	client, err := minio.New(u.Host, &minio.Options{
		Creds: credentials.NewStaticV4(u.User.Username(), password, ""), Secure: u.Scheme == "https",
		Region: u.Query().Get("region"), BucketLookup: minio.BucketLookupPath, MaxRetries: 2,
	})
	if err != nil {
		return nil, fmt.Errorf("object store at %s: %w", u.Host, err)
	}
	return &Bucket{client: client, name: name, prefix: prefix}, nil
}

// Put stores an object, in the place of one of this name.
func (b *Bucket) Put(ctx context.Context, name, mediaType string, content []byte) error {
	_, err := b.client.PutObject(ctx, b.name, b.prefix+name, bytes.NewReader(content), int64(len(content)),
		minio.PutObjectOptions{ContentType: mediaType})
	if err != nil {
		return fmt.Errorf("put object: %w", err)
	}
	return nil
}

// Get returns an object with its media type, or ErrNone.
func (b *Bucket) Get(ctx context.Context, name string) (mediaType string, content []byte, err error) {
	object, err := b.client.GetObject(ctx, b.name, b.prefix+name, minio.GetObjectOptions{})
	if err != nil {
		return "", nil, fmt.Errorf("get object: %w", none(err))
	}
	defer func() { _ = object.Close() }()
	info, err := object.Stat()
	if err != nil {
		return "", nil, fmt.Errorf("get object: %w", none(err))
	}
	if content, err = io.ReadAll(io.LimitReader(object, maxObject)); err != nil {
		return "", nil, fmt.Errorf("read object: %w", none(err))
	}
	return info.ContentType, content, nil
}

// Delete removes an object; one that is not there is removed already.
func (b *Bucket) Delete(ctx context.Context, name string) error {
	err := none(b.client.RemoveObject(ctx, b.name, b.prefix+name, minio.RemoveObjectOptions{}))
	if err != nil && !errors.Is(err, ErrNone) {
		return fmt.Errorf("delete object: %w", err)
	}
	return nil
}

// Old gives each the names of the objects that begin with prefix and were put before a time, some at a time.
func (b *Bucket) Old(ctx context.Context, prefix string, before time.Time, each func(names []string) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the listing when each has failed
	var names []string
	for o := range b.client.ListObjects(ctx, b.name, minio.ListObjectsOptions{Prefix: b.prefix + prefix, Recursive: true}) {
		if o.Err != nil {
			return fmt.Errorf("list objects: %w", o.Err)
		}
		if o.LastModified.Before(before) {
			names = append(names, strings.TrimPrefix(o.Key, b.prefix))
		}
		if len(names) == listed {
			if err := each(names); err != nil {
				return err
			}
			names = nil
		}
	}
	if len(names) == 0 {
		return nil
	}
	return each(names)
}

func none(err error) error {
	if minio.ToErrorResponse(err).Code == minio.NoSuchKey {
		return ErrNone
	}
	return err
}
