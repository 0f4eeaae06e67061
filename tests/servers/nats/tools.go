// SPDX-License-Identifier: Apache-2.0

//go:build tools

// Names the pinned server, so that go.mod and go.sum cover all it is made of.
package tools

import _ "github.com/nats-io/nats-server/v2"
