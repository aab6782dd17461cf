// Package access says who may use reelay over HTTP, and as whom: a bearer token is that of a principal, which has projects
// and roles. It keeps digests of tokens alone, and no error of it holds one.
package access
