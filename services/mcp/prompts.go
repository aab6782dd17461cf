package mcp

import (
	"context"
	"fmt"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"reelay/events"
	"reelay/internal/access"
)

// addPrompts adds what a person may start with.
func (b *bridge) addPrompts() {
	project := &sdk.PromptArgument{Name: "project_id", Description: "Project of the tasks, the default one if it is left out"}
	if b.who.Has(access.Generate) {
		b.server.AddPrompt(&sdk.Prompt{
			Name: "storyboard", Title: "Storyboard", Description: "Plans a film as shots and has each made.",
			Arguments: []*sdk.PromptArgument{{Name: "idea", Description: "What the film is about", Required: true}, project},
		}, prompt("Storyboard", func(args map[string]string) string {
			return fmt.Sprintf(`Plan a short film about: %s
Write a list of shots, each with one sentence of picture, its motion and its seconds. Show me the list with the cost of
each shot, which the tool quote tells, and ask before anything is made.%s Then make every shot with generate_video, with wait_seconds 0, the number
of the shot in scene_id and a request_id of its own such as film-shot-01. Wait for them with get_task and show the links.`,
				args["idea"], inProject(args))
		}))
		b.server.AddPrompt(&sdk.Prompt{
			Name: "shot_list_to_batch", Title: "Shot list to batch", Description: "Has every shot of a list made.",
			Arguments: []*sdk.PromptArgument{{Name: "shots", Description: "The shots, one a line", Required: true}, project},
		}, prompt("Shot list to batch", func(args map[string]string) string {
			return fmt.Sprintf(`Make a video of each of these shots:
%s
Call generate_video for each with wait_seconds 0 and a request_id of its own made of the number of the shot.%s Never
call it twice for one shot. When all are handed in, wait for each with get_task, and tell me which have failed and why.`,
				args["shots"], inProject(args))
		}))
	}
	b.server.AddPrompt(&sdk.Prompt{
		Name: "resume_my_generations", Title: "Resume my generations",
		Description: "Finds what was handed in before and goes on with it.", Arguments: []*sdk.PromptArgument{project},
	}, b.resumePrompt)
}

func inProject(args map[string]string) string {
	if args["project_id"] == "" {
		return ""
	}
	return fmt.Sprintf(" Use project_id %s.", args["project_id"])
}

func prompt(title string, words func(map[string]string) string) sdk.PromptHandler {
	return func(_ context.Context, r *sdk.GetPromptRequest) (*sdk.GetPromptResult, error) {
		return message(title, words(r.Params.Arguments)), nil
	}
}

func message(title, words string) *sdk.GetPromptResult {
	return &sdk.GetPromptResult{
		Description: title, Messages: []*sdk.PromptMessage{{Role: "user", Content: &sdk.TextContent{Text: words}}},
	}
}

// resumePrompt tells the tasks that have not ended, and the newest that have.
func (b *bridge) resumePrompt(ctx context.Context, r *sdk.GetPromptRequest) (*sdk.GetPromptResult, error) {
	a, err := b.listTasks(ctx, nil, listTasksIn{
		ProjectID: r.Params.Arguments["project_id"], Limit: events.DefaultListLimit,
	})
	if err != nil {
		return nil, failureOf(err)
	}
	return message("Resume my generations", "These are my newest tasks:\n"+lines(a.Tasks)+`
Wait with get_task for those that have not ended. Tell me what is finished, with links, and what has failed and why. Do
not generate anything again unless I say so.`), nil
}
