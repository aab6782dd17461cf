// Package minimax drives MiniMax's video, speech, music, image and voice APIs (https://platform.minimax.io/docs/api-reference).
//
// # Two generations
//
// MiniMax has two video APIs that share neither paths nor words nor errors. The model chooses: MiniMax-H3 and its
// variants are V2 (/v2/video_generation), the Hailuo, T2V, I2V and S2V families are V1 (/v1/video_generation).
// Both sit behind the small interface generation; v1.go and v2.go hold one wire format each.
//
// V1 answers everything with HTTP 200 and tells the verdict in base_resp.status_code. V2 uses HTTP statuses and an
// error object that hides the same code in the last parenthesis of its message. Neither documents an idempotency key,
// so a create whose answer was lost is in doubt. V2 can be asked for its recent tasks (Driver.List), V1 cannot.
//
// What a gateway answers for either may come in the other's form, or as a page; the table rulings tells for every HTTP
// status and envelope what an answer to a create proves.
//
// # Speech, music, images, voices
//
// The table calls lists the APIs that answer with what they make: t2a_v2, music_generation, image_generation and those of
// voices. Speech is made by t2a_async_v2 unless the task's model asks for t2a_v2 by its name before the model's
// ("t2a_v2/speech-2.8-hd"): an id can be asked about, an answer that is lost can never be found. The file of
// t2a_async_v2 is an archive; its sound is the first output, the archive the second. A voice is cloned under an id that
// derives from the task, so that a repeated request is refused as a duplicate (2039) where the first has worked.
//
// # What a failed call means
//
// A task's failure is a verdict only in a word that MiniMax is known to have for it. Where it comes otherwise (a
// success that names no file, a file that cannot be had, a word that nobody knows beside an error) it is
// Snapshot.Unconfirmed. Whatever else goes wrong during a poll is a *provider.Error and says nothing about the task; in
// particular a V1 answer with a bad base_resp and no status. HTTP codes alone never end a task.
//
// # Cancel
//
// V1 has no cancel. V2 has one call, DELETE, which cancels a queued task but destroys the record of a finished one, its
// paid result included. So Cancel asks first and sends DELETE only to a task that is queued.
package minimax
