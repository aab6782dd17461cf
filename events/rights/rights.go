// Package rights says what each service of reelay and each tenant needs of NATS, and no more, as one table: from it
// come the configuration that `reelay auth init` writes, what doctor compares with, and the tests of both.
//
// Promises: a service can do its work with its row, and nothing else. A tenant can do with its own project what its
// role allows, and can neither read nor write anything of another's, nor of reelay's own.
//
// The services share one account, a tenant has one of its own. A tenant as a user of reelay's account could write
// anything there, whatever its permissions: a server does not check where it is asked to send its answer. Exports and
// imports between accounts rename the answer's subject.
package rights

import (
	"slices"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/events/operator"
)

// Rights are what one user of an account may do.
type Rights struct {
	// Publish and Subscribe are subjects, with wildcards.
	Publish, Subscribe []string
	// Answers says that it may also publish one answer to each message that it receives, within MaxWait.
	Answers bool
}

// UserInfo is where a server says what whoever asks may do.
const UserInfo = "$SYS.REQ.USER.INFO"

// InboxPrefix is that of the subjects for the answers to one service. Nobody else may subscribe there.
func InboxPrefix(name string) string { return "_INBOX_" + name }

// The services that have a row.
const (
	Submitter = "submitter"
	Poller    = "poller"
	Webhook   = "webhook"
	Status    = "status"
	Archiver  = "archiver"
	Media     = "media"
	MCP       = "mcp"
	Console   = "console"
	Notifier  = "notifier"
)

// Services lists the services that have a row.
func Services() []string {
	return []string{Submitter, Poller, Webhook, Status, Archiver, Media, MCP, Console, Notifier}
}

// A need is what a service does, in terms of streams, consumers and buckets.
type need struct {
	// foundations: it makes missing streams, knows what all are like, and sets their settings right.
	foundations bool
	consumers   []events.Consumer
	// follows are streams that it reads from some place on, in order, by consumers of its own; reads those of which it
	// reads single messages.
	follows, reads []string
	// handsOut: it gives work to the media service, and takes it back.
	handsOut bool
	// clears are streams of which it deletes single messages, purges those of which it deletes all that is of one task.
	clears, purges []string
	// writes are subjects.
	writes []string
	// objects are object stores that it reads, keeps those that it writes as well.
	objects, keeps []string
	// hears are subjects without a stream; answers: it answers there.
	hears   []string
	answers bool
}

// needs is the table.
func needs() map[string]need {
	kv := bucket.Stream
	tasks, all := events.StreamTasks, ">"
	task := events.Key{Project: "*", ID: "*"}
	record := events.RecordSubject(task)
	key := func(b string) string { return bucket.KeySubject(b, all) }
	moves := []string{ // whoever moves a task on writes these
		record, events.EventSubject(task, "*"), events.PollSubject("*", task),
		events.ArtifactSubject(task), events.DeadSubject("*", "*"),
	}
	client := []string{ // what any client of the contract publishes
		events.RequestSubject("*", "*"), events.CommandSubject(task, "*"), events.APIFilter,
	}
	agent := need{
		follows: []string{events.StreamEvents}, reads: []string{events.StreamEvents}, writes: client,
		hears: []string{events.AllEvents},
	}
	return map[string]need{
		Media: {
			foundations: true, consumers: []events.Consumer{events.WorkConsumer()}, follows: []string{tasks},
			reads: []string{tasks, events.StreamEvents}, writes: moves, keeps: []string{events.ObjectBucket},
		},
		MCP: agent, Console: agent,
		Notifier: ofNotifier(),
		Submitter: {
			foundations: true,
			consumers:   []events.Consumer{events.IntakeConsumer(), events.AdvisoryConsumer(), events.DeadRequestConsumer()},
			follows: []string{
				tasks, kv(bucket.Lanes), kv(bucket.Caps), kv(bucket.Forecasts), kv(bucket.Schemas), kv(bucket.Quotas),
			},
			reads: []string{
				tasks, events.StreamEvents, events.StreamClaims, events.StreamRequests, events.StreamPolls, events.StreamCallbacks,
				events.StreamDead, events.StreamAdvisories, events.StreamArtifacts, kv(bucket.Lanes), kv(bucket.Leases),
				kv(bucket.Caps), kv(bucket.Spend), kv(bucket.Schemas), kv(bucket.Uploads),
			},
			clears: []string{events.StreamPolls}, purges: []string{events.StreamEvents}, handsOut: true,
			writes: append(moves, events.ClaimFilter, key(bucket.Leases), key(bucket.Lanes), key(bucket.Spend),
				key(bucket.Schemas), key(bucket.Uploads), events.BrokerSubject, InboxPrefix(Status)+"."+all, events.APISubject(events.VerbLinks, "*", "*"), events.APISubject(events.VerbCopy, "*")),
			objects: []string{events.InputBucket}, keeps: []string{events.ObjectBucket},
			hears: append(events.StreamChanges(tasks), events.LanePositionsSubject("*"), events.LaneSchemaSubject("*")),
		},
		Poller: {
			foundations: true,
			consumers: []events.Consumer{
				events.HeartbeatConsumer(), events.CallbackConsumer(), {Stream: events.StreamPolls, Durable: "*"},
			},
			follows: []string{tasks, kv(bucket.Lanes), kv(bucket.Forecasts)},
			reads: []string{
				tasks, events.StreamEvents, events.StreamClaims, events.StreamPolls, events.StreamCallbacks, kv(bucket.Forecasts),
				kv(bucket.Health),
			},
			writes: append(moves, events.ClaimFilter, key(bucket.Forecasts), key(bucket.Health)),
			keeps:  []string{events.ObjectBucket}, handsOut: true,
		},
		Webhook: {writes: []string{events.CallbackSubject("*", task)}},
		Status: {
			foundations: true,
			follows: []string{
				tasks, events.StreamEvents, kv(bucket.Lanes), kv(bucket.Caps), kv(bucket.Forecasts), kv(bucket.Health),
				kv(bucket.Leases), kv(bucket.Spend), kv(bucket.Schemas), kv(bucket.Quotas),
			},
			reads: []string{
				tasks, events.StreamEvents, events.StreamRequests, events.StreamDead, events.StreamCallbacks, kv(bucket.Lanes),
				kv(bucket.Caps), kv(bucket.Spend), kv(bucket.Leases), kv(bucket.Schemas), kv(bucket.Quotas),
			},
			objects: []string{events.InputBucket},
			writes: append(client[:2:2], events.ByAPISubject(client[0]), events.ByAPISubject(client[1]), events.CallbackSubject("*", task),
				events.EventSubject(task, events.EventBatchDone), key(bucket.Lanes), key(bucket.Caps), key(bucket.Quotas),
				key(bucket.Spend), events.LanePositionsSubject("*"), events.LaneSchemaSubject("*"), events.APISubject(events.VerbCopy, "*")),
			hears:   []string{events.APIFilter, "$SRV." + all, events.EventSubject(task, events.EventRejected)},
			answers: true,
		},
		Archiver: {
			foundations: true, consumers: []events.Consumer{events.ArtifactConsumer()},
			follows: []string{tasks},
			reads: []string{
				tasks, events.StreamEvents, events.StreamArtifacts, events.StreamCallbacks, kv(bucket.Leases),
			},
			purges: []string{events.StreamEvents, events.StreamCallbacks},
			writes: append(moves, bucket.KeySubject(bucket.Leases, bucket.FileLeaseKey("*", "*"))),
			keeps:  []string{events.ObjectBucket, events.InputBucket, bucket.Artifacts},
			hears: []string{
				events.APISubject(events.VerbLinks, "*", "*"), events.APISubject(events.VerbUpload, "*"),
				events.APISubject(events.VerbErase, "*", "*"), events.APISubject(events.VerbCopy, "*"), events.APISubject(operator.VerbArtifacts),
				events.APISubject(operator.VerbArtifactsVerify), events.APISubject(operator.VerbArtifactsGC), "$SRV." + all,
			},
			answers: true,
		},
	}
}

// ofNotifier is the row of the notifier.
func ofNotifier() need {
	return need{
		foundations: true,
		consumers:   []events.Consumer{events.RouteConsumer(), {Stream: events.StreamNotify, Durable: "*"}},
		reads:       []string{events.StreamTasks, events.StreamEvents, events.StreamNotify, events.StreamDead},
		writes:      []string{events.NotifyFilter("*"), events.DeadSubject("*", "*")},
		hears: []string{
			events.APISubject(operator.VerbNotify), events.APISubject(operator.VerbNotifyReplay),
			events.APISubject(operator.VerbNotifyTest), "$SRV.>",
		},
		answers: true,
	}
}

// Of returns the row of a service.
func Of(service string) Rights {
	n := needs()[service]
	publish := append(slices.Clone(n.writes), UserInfo)
	add := func(subjects ...string) { publish = append(publish, subjects...) }
	js := "$JS.API."
	if n.foundations {
		add(js + "INFO")
		for _, stream := range streams() {
			add(js+"STREAM.INFO."+stream, js+"STREAM.CREATE."+stream, js+"STREAM.UPDATE."+stream)
		}
	}
	for _, c := range n.consumers {
		name := c.Stream + "." + c.Durable
		add(js+"CONSUMER.CREATE."+name, js+"CONSUMER.CREATE."+name+".>", js+"CONSUMER.INFO."+name,
			js+"CONSUMER.MSG.NEXT."+name, "$JS.ACK."+name+".>", "$JS.ACK.*.*."+name+".>")
	}
	for _, stream := range n.follows {
		add(js+"STREAM.INFO."+stream, js+"CONSUMER.CREATE."+stream+".*", js+"CONSUMER.CREATE."+stream+".*.>",
			js+"CONSUMER.INFO."+stream+".*", js+"CONSUMER.DELETE."+stream+".*", js+"CONSUMER.MSG.NEXT."+stream+".*",
			"$JS.FC."+stream+".>")
	}
	for _, stream := range n.reads {
		add(js+"STREAM.INFO."+stream, js+"STREAM.MSG.GET."+stream, js+"DIRECT.GET."+stream, js+"DIRECT.GET."+stream+".>")
	}
	if n.handsOut {
		stream := events.StreamWork
		add(events.WorkSubject("*", events.Key{Project: "*", ID: "*"}), js+"STREAM.INFO."+stream, js+"STREAM.MSG.GET."+stream,
			js+"STREAM.MSG.DELETE."+stream, js+"CONSUMER.INFO."+stream+"."+events.ConsumerWork)
	}
	for _, stream := range n.clears {
		add(js + "STREAM.MSG.DELETE." + stream)
	}
	for _, stream := range n.purges {
		add(js+"STREAM.INFO."+stream, js+"STREAM.PURGE."+stream)
	}
	for _, b := range append(slices.Clone(n.objects), n.keeps...) {
		stream := bucket.ObjectStream(b)
		add(js+"STREAM.INFO."+stream, js+"STREAM.MSG.GET."+stream, js+"DIRECT.GET."+stream, js+"DIRECT.GET."+stream+".>",
			js+"CONSUMER.CREATE."+stream+".*", js+"CONSUMER.CREATE."+stream+".*.>", js+"CONSUMER.DELETE."+stream+".*",
			"$JS.FC."+stream+".>")
	}
	for _, b := range n.keeps {
		add(js+"STREAM.CREATE."+bucket.ObjectStream(b), js+"STREAM.UPDATE."+bucket.ObjectStream(b),
			"$O."+b+".>", js+"STREAM.PURGE."+bucket.ObjectStream(b))
	}
	slices.Sort(publish)
	return Rights{
		Publish:   slices.Compact(publish),
		Subscribe: append([]string{InboxPrefix(service) + ".>"}, n.hears...),
		Answers:   n.answers,
	}
}

// streams are those of the contract, the buckets' included.
func streams() []string {
	var all []string
	for _, s := range events.Streams() {
		all = append(all, s.Name)
	}
	for _, b := range bucket.All() {
		if b.Objects {
			all = append(all, bucket.ObjectStream(b.Name))
		} else {
			all = append(all, bucket.Stream(b.Name))
		}
	}
	return append(all, events.StreamBroker)
}

// A Role is what a tenant may do with its project.
type Role string

// The roles.
const (
	// ReadOnly sees what there is, what it costs and what it made.
	ReadOnly Role = "read"
	// Tenant also hands in tasks and files, and cancels. It is the usual one.
	Tenant Role = "tenant"
	// Resolver also decides about tasks that are in doubt, which may pay twice.
	Resolver Role = "resolve"
)

// Roles lists the roles, the least first.
func Roles() []Role { return []Role{ReadOnly, Tenant, Resolver} }

// An Export is a subject of reelay's account that one tenant's account imports under the same name.
type Export struct {
	Subject string
	// Stream says that messages go to the tenant; else requests come from it.
	Stream bool
}

// Exports are what a role has of a project.
func Exports(project string, role Role) []Export {
	task := events.Key{Project: project, ID: "*"}
	all := []Export{{Subject: events.EventSubject(task, "*"), Stream: true}}
	request := func(subjects ...string) {
		for _, s := range subjects {
			all = append(all, Export{Subject: s})
		}
	}
	for _, v := range []events.Verb{
		events.VerbList, events.VerbQueue, events.VerbSpend, events.VerbModels, events.VerbQuote, operator.VerbCaps,
		operator.VerbQuotas,
	} {
		request(events.APISubject(v, project))
	}
	for _, v := range []events.Verb{
		events.VerbGet, events.VerbTimeline, events.VerbWait, events.VerbBatch, events.VerbLinks,
	} {
		request(events.APISubject(v, project, "*"))
	}
	if role == ReadOnly {
		return all
	}
	request(events.RequestSubject(project, "*"), events.CommandSubject(task, events.CommandCancel),
		events.APISubject(events.VerbSubmit, project, "*"), events.APISubject(events.VerbCancel, project, "*"),
		events.APISubject(events.VerbUpload, project), events.APISubject(events.VerbErase, project, "*"))
	if role == Resolver {
		request(events.CommandSubject(task, events.CommandResolve), events.APISubject(events.VerbResolve, project, "*"))
	}
	return all
}
